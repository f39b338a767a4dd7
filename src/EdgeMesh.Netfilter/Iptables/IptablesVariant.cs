namespace EdgeMesh.Netfilter.Iptables;

/// <summary>The two programs that share the name iptables. They write to different places of the kernel, and both are in force.</summary>
public enum IptablesVariant
{
    /// <summary>Rules in nf_tables.</summary>
    Nft,

    /// <summary>Rules in the kernel's older x_tables.</summary>
    Legacy,
}

/// <summary>The two names under which users of EdgeMesh know the portal chains.</summary>
public enum ChainPrefix
{
    EdgeMesh,
    Kube,
}
