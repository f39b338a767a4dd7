using static EdgeMesh.Agent.Options.KeyKinds;

namespace EdgeMesh.Agent.Options;

/// <summary>Keys of EdgeMesh's parts that this release does not have. They are read and checked, so that a file of today
/// is right when the part arrives.</summary>
internal static class NotBuiltKeys
{
    public static IReadOnlyList<ConfigKey> All { get; } =
    [
        .. Of("commonConfig.pprofConfig", "commonConfig.pprofConfig.enableProfiling",
            Boolean("commonConfig.pprofConfig.enableProfiling", false, "Profiles of the Go agent."),
            Text("commonConfig.pprofConfig.profilingAddress", "127.0.0.1", "Where they are served."),
            Integer("commonConfig.pprofConfig.profilingPort", 6060, 0, 65535, "Port of that.")),
        .. Of("modules.edgeProxy.socks5Proxy", "modules.edgeProxy.socks5Proxy.enable",
            Boolean("modules.edgeProxy.socks5Proxy.enable", false, "A SOCKS5 proxy to nodes by name."),
            Port("modules.edgeProxy.socks5Proxy.listenPort", 10800, "Its port.")),
        .. Of("modules.edgeProxy.loadBalancer.consistentHash", null,
            Integer("modules.edgeProxy.loadBalancer.consistentHash.partitionCount", 100, 1, 1_000_000, "Parts of the hash ring."),
            Integer("modules.edgeProxy.loadBalancer.consistentHash.replicationFactor", 10, 1, 100_000, "Places of an endpoint on the ring."),
            Number("modules.edgeProxy.loadBalancer.consistentHash.load", 1.25, "How far above the average one endpoint may be loaded.")),
        .. Of("modules.edgeCNI", "modules.edgeCNI.enable",
            Boolean("modules.edgeCNI.enable", false, "Pod addresses across networks."),
            Text("modules.edgeCNI.encapsulationIP", "", "Outer address."),
            Integer("modules.edgeCNI.tunMode", 0, 0, 100, "Mode of the tun device."),
            TextList("modules.edgeCNI.meshCIDRConfig.cloudCIDR", "Pod networks in the cloud."),
            TextList("modules.edgeCNI.meshCIDRConfig.edgeCIDR", "Pod networks at the edge.")),
    ];

    private static IEnumerable<ConfigKey> Of(string part, string? @switch, params ConfigKey[] keys) =>
        keys.Select(key => key.OfPart(part, @switch));
}
