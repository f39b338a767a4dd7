using EdgeMesh.Catalog;
using EdgeMesh.Linux;
using EdgeMesh.Net;

namespace EdgeMesh.Tunnel;

/// <summary>Where a connection is to go over the tunnel.</summary>
/// <param name="Node">The node that runs the endpoint, and that dials it.</param>
/// <param name="Endpoint">The endpoint as that node sees it.</param>
/// <param name="Service">The service port that the client called; for the other side's logs and counters.</param>
/// <param name="Client">Who called.</param>
public sealed record TunnelDestination(string Node, InetEndpoint Endpoint, TransportProtocol Protocol, ServicePortName Service, InetEndpoint Client);

/// <summary>Why a destination did not take a connection. None of the client's bytes has reached an endpoint then.</summary>
public enum TunnelRefusal
{
    /// <summary>No session to the node, and none could be made in time.</summary>
    NoSession,

    /// <summary>The node's catalog does not list the address as an endpoint of its own.</summary>
    NotListed,

    /// <summary>The node dialled the endpoint, which did not answer.</summary>
    DialFailed,

    /// <summary>As many streams stand as may, here or there.</summary>
    Limit,

    /// <summary>The node could not read the request.</summary>
    Malformed,

    /// <summary>The node is going away.</summary>
    Draining,
}

/// <summary>How a tunnelled connection ended.</summary>
public enum TunnelEnd
{
    /// <summary>Both sides finished.</summary>
    Completed,

    /// <summary>Nobody took it.</summary>
    Refused,

    /// <summary>The client broke off.</summary>
    ClientReset,

    /// <summary>The endpoint broke off, or its node did.</summary>
    EndpointReset,

    /// <summary>The session under it was lost.</summary>
    SessionLost,

    /// <summary>Closed for others, because its client or service had most of a limit that was used up.</summary>
    GaveWay,

    /// <summary>This agent stopped.</summary>
    Stopped,
}

/// <summary>What became of one tunnelled connection.</summary>
public sealed record TunnelOutcome(TunnelDestination Destination, TunnelEnd End, long BytesToEndpoint, long BytesToClient);
