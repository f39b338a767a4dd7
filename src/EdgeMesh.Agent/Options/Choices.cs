namespace EdgeMesh.Agent.Options;

/// <summary><c>modules.edgeProxy.serviceFilterMode</c>: what the label <c>service.edgemesh.kubeedge.io/service-proxy-name</c> means.</summary>
internal enum ServiceFilterMode
{
    /// <summary>Labelled services are left to kube-proxy.</summary>
    FilterIfLabelExists,

    /// <summary>Only labelled services are handled.</summary>
    FilterIfLabelDoesNotExists,
}

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
