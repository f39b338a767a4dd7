using EdgeMesh.Kubernetes.Yaml;

namespace EdgeMesh.Agent.Options;

/// <summary>Keys that older files hold: those of releases 1.8 to 1.12 that have other names now, and those that the Go agent
/// sets for itself. The Go agent never complained about any of them.</summary>
internal static class RetiredKeys
{
    public static IReadOnlyList<ConfigKey> All { get; } =
    [
        new ConfigKey<string>("commonConfig.dummyDeviceName", "text", "", "", ValueReaders.Text, v => v) { Status = KeyStatus.Retired, Successor = CommonKeys.DeviceName },
        new ConfigKey<string>("commonConfig.dummyDeviceIP", "text", "", "", ValueReaders.Text, v => v) { Status = KeyStatus.Retired, Successor = CommonKeys.DeviceAddress },
        new ConfigKey<string>("kubeAPIConfig.metaServerAddress", "text", "", "", ValueReaders.Text, v => v) { Status = KeyStatus.Retired, Successor = KubeApiKeys.MetaServer },
        Anything("commonConfig.configMapName", KeyStatus.Retired),
        Anything("commonConfig.mode", KeyStatus.Retired),
        Anything("commonConfig.loggingLevel", KeyStatus.Retired),
        Anything("goChassisConfig", KeyStatus.Retired),
        Anything("modules.edgeProxy.subNet", KeyStatus.Retired),
        Anything("modules.edgeGateway", KeyStatus.Retired),
        Anything("modules.tunnel", KeyStatus.Retired),
        Anything("modules.networking", KeyStatus.Retired),
        Anything("modules.controller", KeyStatus.Retired),
        Anything("modules.edgeDNS.dnsConfig", KeyStatus.Retired),
        Anything("modules.edgeTunnel.security", KeyStatus.Retired),
        Anything("modules.edgeTunnel.enableHolePunch", KeyStatus.Retired),
        Anything("modules.edgeTunnel.enableSecurity", KeyStatus.Retired),
        Anything("modules.edgeTunnel.advertiseAddress", KeyStatus.Retired),
        Anything("modules.edgeDNS.listenInterface", KeyStatus.NoEffect),
        Anything("modules.edgeDNS.mode", KeyStatus.NoEffect),
        Anything("modules.edgeDNS.kubeAPIConfig", KeyStatus.NoEffect),
        Anything("modules.edgeProxy.listenInterface", KeyStatus.NoEffect),
        Anything("modules.edgeProxy.socks5Proxy.nodeName", KeyStatus.NoEffect),
        Anything("modules.edgeProxy.socks5Proxy.namespace", KeyStatus.NoEffect),
        Anything("modules.edgeProxy.loadBalancer.caller", KeyStatus.NoEffect),
        Anything("modules.edgeProxy.loadBalancer.nodeName", KeyStatus.NoEffect),
        Anything("modules.edgeTunnel.mode", KeyStatus.NoEffect),
        Anything("modules.edgeTunnel.nodeName", KeyStatus.NoEffect),
        Anything("modules.edgeTunnel.configPath", KeyStatus.NoEffect),
    ];

    private static ConfigKey<bool> Anything(string path, KeyStatus status) =>
        new(path, "anything", false, "", Ignore, _ => "") { Status = status };

    private static bool Ignore(YamlValue node, FaultSink fault, out bool value)
    {
        value = false;
        return true;
    }
}
