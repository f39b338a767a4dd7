using System.Collections.Frozen;
using System.Collections.Immutable;

namespace EdgeMesh.Agent.Options;

/// <summary>Every key that a configuration file may hold, in the order in which they are shown.</summary>
internal static class ConfigSchema
{
    public const string ApiVersionValue = "agent.edgemesh.config.kubeedge.io/v1alpha1";
    public const string KindValue = "EdgeMeshAgent";

    public static ImmutableArray<ConfigKey> Keys { get; } =
        [.. KubeApiKeys.Root, .. KubeApiKeys.All, .. CommonKeys.All, .. EdgeProxyKeys.All, .. EdgeTunnelKeys.All, .. EdgeDnsKeys.All, .. NotBuiltKeys.All, .. RetiredKeys.All];

    public static FrozenDictionary<string, ConfigKey> ByPath { get; } = Keys.ToFrozenDictionary(k => k.Path, StringComparer.Ordinal);

    /// <summary>What sections are for, where their name does not say it.</summary>
    public static FrozenDictionary<string, string> Sections { get; } = new Dictionary<string, string>(StringComparer.Ordinal)
    {
        ["kubeAPIConfig"] = "Where services and endpoints come from: manifests, else master or kubeConfig, else on a cloud node the pod's service account, else the metaServer of the edge node.",
        ["commonConfig"] = "The agent itself.",
        ["modules.edgeProxy"] = "Takes the connections of services before kube-proxy sees them, and forwards them.",
        ["modules.edgeTunnel"] = "Carries connections to nodes that cannot be reached directly: another LAN, behind NAT, cloud to edge.",
        ["modules.edgeTunnel.tunnelLimitConfig"] = "Bounds of the tunnel; above them new connections are refused and counted, and those that stand go on.",
        ["modules.edgeDNS"] = "Answers pods' questions for names: those of services itself, also while the node is offline, all others from upstream. Pods ask it where kubelet's clusterDNS is the address of the device.",
        ["modules.edgeDNS.cacheDNS"] = "In place of that: keeps the answers of the cluster's own DNS, and answers nothing itself.",
        ["modules.edgeProxy.limits"] = "Bounds of the user-mode proxy; above them new connections are refused and counted, and the agent lives on.",
    }.ToFrozenDictionary(StringComparer.Ordinal);

    /// <summary>Names of the keys and sections directly below a section; <c>""</c> is the root.</summary>
    public static FrozenDictionary<string, ImmutableArray<string>> Children { get; } = ChildrenOf(Keys);

    private static FrozenDictionary<string, ImmutableArray<string>> ChildrenOf(ImmutableArray<ConfigKey> keys)
    {
        var children = new Dictionary<string, List<string>>(StringComparer.Ordinal);
        foreach (var key in keys)
        {
            var parent = "";
            foreach (var name in key.Path.Split('.'))
            {
                if (!children.TryGetValue(parent, out var names))
                    children[parent] = names = [];
                if (!names.Contains(name))
                    names.Add(name);
                parent = Join(parent, name);
            }
        }

        return children.ToFrozenDictionary(p => p.Key, p => p.Value.ToImmutableArray(), StringComparer.Ordinal);
    }

    public static string Join(string section, string name) => section.Length == 0 ? name : $"{section}.{name}";
}
