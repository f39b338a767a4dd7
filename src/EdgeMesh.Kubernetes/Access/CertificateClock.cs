using System.Security.Cryptography.X509Certificates;

namespace EdgeMesh.Kubernetes.Access;

/// <summary>At which time a server's certificate is judged. A node without a clock battery begins in 1970, and may need the API
/// server before it has the time from anywhere: a clock that is certainly wrong must not keep it out.</summary>
internal static class CertificateClock
{
    /// <summary>Now, unless the clock is before what cannot be in the future: this program was built, and the trusted CAs were made. Then the
    /// certificates' own beginning counts, where that is later. One that had ended by then stays refused.</summary>
    public static DateTimeOffset JudgedAt(DateTimeOffset now, DateTimeOffset built, IEnumerable<X509Certificate2> roots, IEnumerable<X509Certificate2> presented)
    {
        var least = Latest(built, roots);
        return now >= least ? now : Latest(least, presented);
    }

    /// <summary>When this program was put together; its file says so.</summary>
    public static DateTimeOffset Built { get; } = BuiltAt(Environment.ProcessPath);

    private static DateTimeOffset BuiltAt(string? program)
    {
        try
        {
            return program is null ? DateTimeOffset.MinValue : new DateTimeOffset(File.GetLastWriteTimeUtc(program));
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return DateTimeOffset.MinValue;
        }
    }

    private static DateTimeOffset Latest(DateTimeOffset least, IEnumerable<X509Certificate2> certificates) =>
        certificates.Select(c => new DateTimeOffset(c.NotBefore)).Append(least).Max();
}
