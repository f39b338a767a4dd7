namespace EdgeMesh.Net;

/// <summary>A transport protocol; the values are IANA's protocol numbers.</summary>
public enum TransportProtocol : byte
{
    Tcp = 6,
    Udp = 17,
    Sctp = 132,
}

public static class TransportProtocols
{
    /// <summary>The name in lower case, as iptables, nftables and metrics write it.</summary>
    /// <exception cref="ArgumentOutOfRangeException">None of the three.</exception>
    public static string Name(this TransportProtocol protocol) => protocol switch
    {
        TransportProtocol.Tcp => "tcp",
        TransportProtocol.Udp => "udp",
        TransportProtocol.Sctp => "sctp",
        _ => throw new ArgumentOutOfRangeException(nameof(protocol), protocol, null),
    };

    /// <summary>Reads what Kubernetes writes: <c>TCP</c>, <c>UDP</c> or <c>SCTP</c>. Null: another protocol.</summary>
    /// <param name="text">Left out or empty stands for TCP, the API's default.</param>
    public static TransportProtocol? OfKubernetes(string? text) => text switch
    {
        null or "" or "TCP" => TransportProtocol.Tcp,
        "UDP" => TransportProtocol.Udp,
        "SCTP" => TransportProtocol.Sctp,
        _ => null,
    };
}
