namespace EdgeMesh.Net;

/// <summary>An address, a port and the protocol to which the port belongs (RFC 8445 section 4): where a service is caught,
/// what a connection asked for, where an endpoint listens.</summary>
public readonly record struct TransportAddress(InetEndpoint Endpoint, TransportProtocol Protocol)
{
    public TransportAddress(InetAddress address, ushort port, TransportProtocol protocol)
        : this(new InetEndpoint(address, port), protocol)
    {
    }

    public InetAddress Address => Endpoint.Address;

    public ushort Port => Endpoint.Port;

    public IpFamily Family => Endpoint.Family;

    public override string ToString() => $"{Endpoint}/{Protocol.Name()}";
}
