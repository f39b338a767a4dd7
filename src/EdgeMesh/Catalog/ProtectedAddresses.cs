using System.Collections.Frozen;
using EdgeMesh.Linux;
using EdgeMesh.Net;

namespace EdgeMesh.Catalog;

/// <summary>What must never be caught, and what must never be dialled, because of the node that the agent runs on. Immutable;
/// a change of the node's addresses gives another one.</summary>
public sealed class ProtectedAddresses : IEquatable<ProtectedAddresses>
{
    public static ProtectedAddresses None { get; } = new();

    /// <summary>Every address of this node.</summary>
    public FrozenSet<InetAddress> Own { get; init; } = [];

    /// <summary>The broadcast addresses of its subnets.</summary>
    public FrozenSet<InetAddress> Broadcast { get; init; } = [];

    /// <summary>Addresses of the agent's own device: the same on every node, and nothing but the listener is there.</summary>
    public FrozenSet<InetAddress> Listeners { get; init; } = [];

    /// <summary>Where the API server or the metaServer is asked.</summary>
    public FrozenSet<InetEndpoint> ControlPlane { get; init; } = [];

    /// <summary>TCP ports that this agent itself has on the node's addresses: the tunnel's, the admin server's.</summary>
    public FrozenSet<ushort> AgentPorts { get; init; } = [];

    public bool Equals(ProtectedAddresses? other) => ReferenceEquals(this, other)
        || (other is not null && Own.SetEquals(other.Own) && Broadcast.SetEquals(other.Broadcast) && Listeners.SetEquals(other.Listeners)
            && ControlPlane.SetEquals(other.ControlPlane) && AgentPorts.SetEquals(other.AgentPorts));

    public override bool Equals(object? obj) => Equals(obj as ProtectedAddresses);

    public override int GetHashCode() => HashCode.Combine(Own.Count, Broadcast.Count, Listeners.Count, ControlPlane.Count, AgentPorts.Count);
}
