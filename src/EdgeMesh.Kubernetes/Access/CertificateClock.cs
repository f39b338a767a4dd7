using System.Security.Cryptography.X509Certificates;

namespace EdgeMesh.Kubernetes.Access;

/// <summary>At which time a server's certificate is judged. A node without a clock battery begins in 1970 or in a year to come, and may need
/// the API server before it has the time from anywhere: a clock that is wrong must not keep it out.</summary>
/// <remarks>docs/decisions/0021-certificates-without-a-clock.md.</remarks>
internal sealed class CertificateClock
{
    private readonly Lock _gate = new();
    private string _authority = "";
    private DateTimeOffset _proven = DateTimeOffset.MinValue;

    /// <summary>When this program was put together; its file says so.</summary>
    public static DateTimeOffset Built { get; } = BuiltAt(Environment.ProcessPath);

    /// <summary>It is certainly later than this: this program was built, the trusted CAs were made, and so was each certificate of
    /// theirs that was accepted before.</summary>
    public DateTimeOffset Earliest(string authority, DateTimeOffset built, IEnumerable<X509Certificate2> roots)
    {
        var least = Latest(built, roots);
        lock (_gate)
            return authority == _authority && _proven > least ? _proven : least;
    }

    /// <summary>Now, unless the clock is before what cannot be in the future: then <see cref="WithoutClock"/>.</summary>
    public static DateTimeOffset JudgedAt(DateTimeOffset now, DateTimeOffset earliest, IEnumerable<X509Certificate2> presented) =>
        now >= earliest ? now : WithoutClock(earliest, presented);

    /// <summary>The earliest time that it can be by all that a clock has no part in. Whoever had ended by then stays refused.</summary>
    public static DateTimeOffset WithoutClock(DateTimeOffset earliest, IEnumerable<X509Certificate2> presented) => Latest(earliest, presented);

    /// <summary>A certificate was accepted: the CA says that it is later than its beginning.</summary>
    public void Prove(string authority, X509Certificate2 accepted)
    {
        lock (_gate)
        {
            var from = new DateTimeOffset(accepted.NotBefore);
            _proven = authority == _authority && _proven > from ? _proven : from;
            _authority = authority;
        }
    }

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
