namespace EdgeMesh.Testing.Lab;

/// <summary>Which rules of kube-proxy the node has.</summary>
public enum KubeProxyRules
{
    /// <summary>A node without kube-proxy.</summary>
    None,

    /// <summary>Recorded rules of iptables mode, loaded by iptables-nft-restore.</summary>
    IptablesNft,

    /// <summary>The same rules, loaded by iptables-legacy-restore.</summary>
    IptablesLegacy,

    /// <summary>Recorded rules of nftables mode.</summary>
    Nftables,
}

/// <summary>How the lab shall look.</summary>
public sealed record LabOptions
{
    public KubeProxyRules KubeProxy { get; init; } = KubeProxyRules.IptablesNft;

    /// <summary>What kube-proxy knows instead of the services of the fixture: each with one endpoint per family.</summary>
    public IReadOnlyList<ManifestService> KubeProxyServices { get; init; } = [];

    public LabHost Host { get; init; } = LabHost.Routed;

    /// <summary>Starts <see cref="PodServer"/> on the ports of the fixture's services in both pods and outside.</summary>
    public bool PodServers { get; init; } = true;
}
