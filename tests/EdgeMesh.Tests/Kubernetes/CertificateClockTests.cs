using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using EdgeMesh.Kubernetes.Access;
using Xunit;

namespace EdgeMesh.Tests.Kubernetes;

public sealed class CertificateClockTests
{
    private static readonly DateTimeOffset Built = new(2026, 1, 1, 0, 0, 0, TimeSpan.Zero);

    [Fact]
    public void AClockThatMayBeRightIsBelieved()
    {
        using var root = Certificate(Built.AddYears(-5));
        using var server = Certificate(Built.AddYears(3));
        var now = Built.AddDays(1);
        Assert.Equal(now, CertificateClock.JudgedAt(now, Built, [root], [server]));
    }

    [Fact]
    public void AClockThatBeganIn1970DoesNotKeepTheNodeOut()
    {
        using var root = Certificate(Built.AddYears(-5));
        using var server = Certificate(Built.AddYears(3));
        Assert.Equal(Built.AddYears(3), CertificateClock.JudgedAt(DateTimeOffset.UnixEpoch, Built, [root], [root, server]));
    }

    [Fact]
    public void ACertificateThatHadEndedWhenTheProgramWasBuiltStaysRefused()
    {
        using var server = Certificate(Built.AddYears(-2));
        Assert.True(CertificateClock.JudgedAt(DateTimeOffset.UnixEpoch, Built, [], [server]) > new DateTimeOffset(server.NotAfter));
    }

    [Fact]
    public void AClockBeforeTheTrustedAuthorityWasMadeIsWrong()
    {
        using var root = Certificate(Built.AddYears(1));
        Assert.Equal(Built.AddYears(1), CertificateClock.JudgedAt(Built.AddDays(1), Built, [root], []));
    }

    private static X509Certificate2 Certificate(DateTimeOffset from)
    {
        using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        return new CertificateRequest("CN=a", key, HashAlgorithmName.SHA256).CreateSelfSigned(from, from.AddYears(1));
    }
}
