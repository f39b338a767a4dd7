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
        Assert.Equal(now, CertificateClock.JudgedAt(now, Earliest(root), [server]));
    }

    [Fact]
    public void AClockThatBeganIn1970DoesNotKeepTheNodeOut()
    {
        using var root = Certificate(Built.AddYears(-5));
        using var server = Certificate(Built.AddYears(3));
        Assert.Equal(Built.AddYears(3), CertificateClock.JudgedAt(DateTimeOffset.UnixEpoch, Earliest(root), [root, server]));
    }

    [Fact]
    public void ACertificateThatHadEndedWhenTheProgramWasBuiltStaysRefused()
    {
        using var server = Certificate(Built.AddYears(-2));
        Assert.True(CertificateClock.JudgedAt(DateTimeOffset.UnixEpoch, Built, [server]) > new DateTimeOffset(server.NotAfter));
    }

    [Fact]
    public void AClockBeforeTheTrustedAuthorityWasMadeIsWrong()
    {
        using var root = Certificate(Built.AddYears(1));
        Assert.Equal(Built.AddYears(1), CertificateClock.JudgedAt(Built.AddDays(1), Earliest(root), []));
    }

    [Fact]
    public void WhatTheAuthorityHasIssuedSaysThatItIsLaterAndNoOtherAuthorityDoes()
    {
        var clock = new CertificateClock();
        using var root = Certificate(Built.AddYears(-5));
        using var server = Certificate(Built.AddYears(3));
        using var older = Certificate(Built.AddYears(1));
        clock.Prove("a", server);
        clock.Prove("a", older);
        Assert.Equal(Built.AddYears(3), clock.Earliest("a", Built, [root]));
        Assert.Equal(Built, clock.Earliest("b", Built, [root]));
        // It had ended before the newer one was issued.
        Assert.True(CertificateClock.WithoutClock(clock.Earliest("a", Built, [root]), [older]) > new DateTimeOffset(older.NotAfter));
    }

    private static DateTimeOffset Earliest(X509Certificate2 root) => new CertificateClock().Earliest("a", Built, [root]);

    private static X509Certificate2 Certificate(DateTimeOffset from)
    {
        using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        return new CertificateRequest("CN=a", key, HashAlgorithmName.SHA256).CreateSelfSigned(from, from.AddYears(1));
    }
}
