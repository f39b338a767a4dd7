namespace EdgeMesh.Agent.Options;

internal enum RuleBackend
{
    /// <summary>The one that kube-proxy uses on this node.</summary>
    Auto,
    Iptables,
    Nftables,
}

/// <summary>Where the agent runs, as the Go agent saw it: kubelet gives pods KUBERNETES_PORT, an edge node's edged does not.</summary>
internal enum NodeKind
{
    Cloud,
    Edge,
}

internal enum TunnelTransport
{
    Tcp,
    WebSocket,
    Quic,
}

internal enum TunnelIdentity
{
    /// <summary>Derived from the PSK and the node's name.</summary>
    Psk,

    /// <summary>Derived from the name alone, as the Go agent does.</summary>
    EdgeMesh,
}
