namespace EdgeMesh.Dns.Serving;

/// <summary>Who asked, and how an answer reaches him.</summary>
/// <param name="Address">The bits of the address: 32 of them for IPv4.</param>
/// <param name="IsStream">Came over a stream: no bound but that of a message, and nothing to be forged.</param>
/// <param name="Path">For the owner of the sockets: which socket or connection.</param>
public readonly record struct DnsClient(UInt128 Address, bool IsIPv6, ushort Port, bool IsStream, long Path);

/// <summary>Where an answer came from.</summary>
public enum AnswerSource
{
    /// <summary>Nothing is answered.</summary>
    None,

    /// <summary>From the zone that this server knows itself.</summary>
    Zone,

    Cache,

    Upstream,

    /// <summary>An upstream's answer whose time is over, because upstream is away.</summary>
    Stale,

    /// <summary>This client may not ask, or not this.</summary>
    Refused,

    /// <summary>The request could not be read.</summary>
    Malformed,

    /// <summary>No upstream could say.</summary>
    Failed,
}

/// <summary>Takes answers to requests that had to wait.</summary>
public interface IAnswerSink
{
    /// <param name="message">Valid during the call.</param>
    void Answer(in DnsClient client, ReadOnlySpan<byte> message, AnswerSource source);
}
