namespace EdgeMesh.Agent.Options;

/// <summary>Which of the two documented chain names stand in the nat table.</summary>
internal enum ChainPrefix
{
    EdgeMesh,
    Kube,
}

internal enum RuleBackend
{
    /// <summary>The one that kube-proxy uses on this node.</summary>
    Auto,
    Iptables,
}

/// <summary>Where the agent runs, as the Go agent saw it: kubelet gives pods KUBERNETES_PORT, an edge node's edged does not.</summary>
internal enum NodeKind
{
    Cloud,
    Edge,
}
