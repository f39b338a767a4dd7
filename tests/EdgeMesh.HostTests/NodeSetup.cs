using EdgeMesh.Testing.Lab;
using Xunit;

namespace EdgeMesh.HostTests;

/// <summary>Who carries the agent's rules.</summary>
public enum RulesIn
{
    IptablesNft,
    IptablesLegacy,
    Nftables,
}

/// <summary>Who forwards.</summary>
public enum Through
{
    /// <summary>The agent's listener: <c>dataPath: userspace</c>.</summary>
    Userspace,

    /// <summary>The kernel, which the default (<c>dataPath: auto</c>) takes for every service of these tests.</summary>
    Kernel,
}

/// <summary>Which node the agent meets, and how it works there.</summary>
public sealed record NodeSetup(KubeProxyRules KubeProxy, RulesIn Rules, Through Through)
{
    /// <summary>The commonest node, in the way in which older releases forwarded.</summary>
    public static NodeSetup Userspace { get; } = new(KubeProxyRules.IptablesNft, RulesIn.IptablesNft, Through.Userspace);

    /// <summary>The commonest node with the default configuration.</summary>
    public static NodeSetup Kernel { get; } = Userspace with { Through = Through.Kernel };

    /// <summary>The rules are where kube-proxy has its own.</summary>
    public static NodeSetup Beside(KubeProxyRules kubeProxy, Through through) => new(kubeProxy, RulesBeside(kubeProxy), through);

    /// <summary>Leaves the choice of the backend to the agent wherever that choice is the one wanted here.</summary>
    public AgentConfig Config => new()
    {
        Backend = Rules == RulesBeside(KubeProxy) || Rules == RulesIn.IptablesLegacy ? "auto" : Rules == RulesIn.Nftables ? "nftables" : "iptables",
        DataPath = Through == Through.Userspace ? "userspace" : "auto",
    };

    /// <summary>For the rules in iptables, which program shows them.</summary>
    public IptablesVariant Variant => Rules == RulesIn.IptablesLegacy ? IptablesVariant.Legacy : IptablesVariant.Nft;

    /// <summary>Whom a pod sees as the client when the client pod asks: in user mode the node.</summary>
    public string ClientSeen => Through == Through.Userspace ? LabAddresses.Gateway : LabAddresses.Client;

    private static RulesIn RulesBeside(KubeProxyRules kubeProxy) => kubeProxy switch
    {
        KubeProxyRules.Nftables => RulesIn.Nftables,
        KubeProxyRules.IptablesLegacy => RulesIn.IptablesLegacy,
        _ => RulesIn.IptablesNft,
    };
}

/// <summary>The setups in which the same scenarios have to hold. Not among them: rules in iptables beside a kube-proxy in
/// nftables mode, which lose after its restart and which <c>backend: auto</c> therefore never chooses.</summary>
public static class Setups
{
    private static readonly (KubeProxyRules KubeProxy, RulesIn Rules)[] _nodes =
    [
        (KubeProxyRules.IptablesNft, RulesIn.IptablesNft),
        (KubeProxyRules.IptablesLegacy, RulesIn.IptablesLegacy),
        (KubeProxyRules.IptablesNft, RulesIn.Nftables),
        (KubeProxyRules.Nftables, RulesIn.Nftables),
        (KubeProxyRules.None, RulesIn.IptablesNft),
        (KubeProxyRules.None, RulesIn.IptablesLegacy),
        (KubeProxyRules.None, RulesIn.Nftables),
    ];

    public static TheoryData<KubeProxyRules, RulesIn, Through> All => Where(_ => true);

    public static TheoryData<KubeProxyRules, RulesIn, Through> BesideKubeProxy => Where(setup => setup.KubeProxy != KubeProxyRules.None);

    public static TheoryData<KubeProxyRules, RulesIn, Through> UserspaceBesideKubeProxy =>
        Where(setup => setup.KubeProxy != KubeProxyRules.None && setup.Through == Through.Userspace);

    public static TheoryData<KubeProxyRules, RulesIn, Through> KernelBesideKubeProxy =>
        Where(setup => setup.KubeProxy != KubeProxyRules.None && setup.Through == Through.Kernel);

    public static TheoryData<KubeProxyRules, RulesIn, Through> IptablesBesideKubeProxy =>
        Where(setup => setup.KubeProxy != KubeProxyRules.None && setup.Rules != RulesIn.Nftables);

    private static TheoryData<KubeProxyRules, RulesIn, Through> Where(Func<NodeSetup, bool> wanted)
    {
        var setups = new TheoryData<KubeProxyRules, RulesIn, Through>();
        foreach (var (kubeProxy, rules) in _nodes)
        {
            foreach (var through in Enum.GetValues<Through>())
            {
                if (wanted(new NodeSetup(kubeProxy, rules, through)) && (!Ring.IsHere || IsOfTheRing(kubeProxy, rules)))
                    setups.Add(kubeProxy, rules, through);
            }
        }

        return setups;
    }

    /// <summary>On other kernels each backend once, beside a kube-proxy that writes alike: what a mixture adds is decided by the agent, not by the kernel.</summary>
    private static bool IsOfTheRing(KubeProxyRules kubeProxy, RulesIn rules) => (kubeProxy, rules) is
        (KubeProxyRules.IptablesNft, RulesIn.IptablesNft) or (KubeProxyRules.IptablesLegacy, RulesIn.IptablesLegacy) or (KubeProxyRules.Nftables, RulesIn.Nftables);
}
