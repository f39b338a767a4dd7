using System.Text;
using EdgeMesh.Agent.Options;
using Xunit;

namespace EdgeMesh.Tests.Options;

/// <summary>Every key that a file of EdgeMesh 1.8 to 1.17 can hold, as its configuration types have them, is known: a file that
/// worked for years must not stop an agent for a key that it had all the time.</summary>
public sealed class ReleaseKeysTests
{
    /// <summary>By the releases that have them; a name in braces stands for the keys below it.</summary>
    private static readonly (string Releases, string Keys)[] _keys =
    [
        ("1.8 to 1.17", """
            apiVersion
            kind
            kubeAPIConfig{master contentType qps burst kubeConfig}
            modules.edgeDNS{enable listenInterface listenPort}
            modules.edgeProxy{enable listenInterface}
            modules.edgeProxy.socks5Proxy{enable listenPort nodeName namespace}
            """),
        ("1.8 to 1.10", """
            commonConfig{mode dummyDeviceName dummyDeviceIP configMapName loggingLevel}
            goChassisConfig.protocol{tcpBufferSize tcpClientTimeout tcpReconnectTimes nodeName}
            goChassisConfig.loadBalancer{defaultLBStrategy supportLBStrategies}
            goChassisConfig.loadBalancer.consistentHash{partitionCount replicationFactor load}
            modules.networking{enable}
            modules.controller{enable}
            modules.edgeProxy{subNet listenPort}
            modules.edgeGateway{enable nic includeIP excludeIP}
            modules.tunnel{enable nodeName listenPort enableHolePunch transport rendezvous enableIpfsLog relayNodes}
            modules.tunnel{tlsPrivateKeyFile tlsCaFile tlsCertFile token httpServer rotateCertificates}
            modules.tunnel.security{enable tlsPrivateKeyFile tlsCaFile tlsCertFile token httpServer}
            """),
        // As the Go agent itself writes a default file: its fields without a name of their own.
        ("1.8 to 1.12, as --defaultconfig writes them", """
            commonConfig{Mode}
            kubeAPIConfig{Mode}
            modules.edgeDNS{ListenInterface Mode KubeAPIConfig}
            modules.edgeProxy{SubNet ListenInterface}
            modules.edgeProxy.socks5Proxy{NodeName Namespace}
            modules.edgeProxy.loadBalancer{Caller NodeName}
            modules.edgeTunnel{Mode NodeName}
            """),
        ("1.11 and 1.12", """
            kubeAPIConfig{metaServerAddress}
            modules.edgeDNS.cacheDNS{enable autoDetect upstreamServers cacheTTL}
            modules.edgeDNS{mode kubeAPIConfig}
            modules.edgeGateway.goChassisConfig.protocol{tcpBufferSize tcpClientTimeout tcpReconnectTimes nodeName}
            modules.edgeGateway.goChassisConfig.loadBalancer{defaultLBStrategy supportLBStrategies}
            modules.edgeGateway.goChassisConfig.loadBalancer.consistentHash{partitionCount replicationFactor load}
            modules.tunnel{mode maxCandidates heartbeatPeriod finderPeriod}
            """),
        ("1.12 to 1.17", """
            kubeAPIConfig{mode deleteKubeConfig}
            kubeAPIConfig.metaServer{server}
            kubeAPIConfig.metaServer.security{requireAuthorization insecureSkipTLSVerify tlsCaFile tlsCertFile tlsPrivateKeyFile}
            commonConfig{bridgeDeviceName bridgeDeviceIP}
            commonConfig.pprofConfig{enableProfiling profilingAddress profilingPort}
            modules.edgeDNS{kubeAPIConfig}
            modules.edgeProxy{serviceFilterMode}
            modules.edgeProxy.loadBalancer{caller nodeName}
            modules.edgeProxy.loadBalancer.consistentHash{partitionCount replicationFactor load}
            modules.edgeTunnel{enable mode nodeName listenPort transport rendezvous enableIpfsLog maxCandidates heartbeatPeriod finderPeriod configPath}
            modules.edgeTunnel{listenInterfaces extraFilteredInterfaces}
            modules.edgeTunnel.psk{enable path}
            modules.edgeTunnel.tunnelLimitConfig{enable tunnelBaseStreamIn tunnelBaseStreamOut tunnelPeerBaseStreamIn tunnelPeerBaseStreamOut}
            modules.edgeTunnel.metricConfig{enable port}
            """),
        ("1.16 and 1.17", """
            modules.edgeCNI{enable encapsulationIP tunMode}
            modules.edgeCNI.meshCIDRConfig{cloudCIDR edgeCIDR}
            """),
    ];

    public static TheoryData<string, string> Keys
    {
        get
        {
            var data = new TheoryData<string, string>();
            foreach (var (releases, keys) in _keys)
            {
                foreach (var line in keys.Split('\n', StringSplitOptions.TrimEntries | StringSplitOptions.RemoveEmptyEntries))
                    data.Add(releases, line);
            }

            return data;
        }
    }

    [Theory]
    [MemberData(nameof(Keys))]
    public void NoKeyOfARelease1xIsUnknown(string releases, string line)
    {
        var parts = line.Split('{', '}');
        var names = parts.Length > 1 ? parts[1].Split(' ') : [parts[0][(parts[0].LastIndexOf('.') + 1)..]];
        string[] path = parts.Length > 1 ? parts[0].Split('.') : [];
        var text = new StringBuilder();
        for (var depth = 0; depth < path.Length; depth++)
            text.Append(' ', depth * 2).Append(path[depth]).Append(":\n");
        foreach (var name in names)
            text.Append(' ', path.Length * 2).Append(name).Append(":\n");
        var loaded = ConfigSample.Read(text.ToString());
        Assert.True(loaded.Faults.All(fault => fault.What != "no such key"), $"{releases}: {string.Join("; ", loaded.Faults)}");
    }

    [Fact]
    public void RelayNodesHoldTheirTwoKeys() => Assert.Empty(ConfigSample.Read(
        "modules:\n  edgeTunnel:\n    relayNodes:\n    - nodeName: master\n      advertiseAddress:\n      - 1.1.1.1\n").Faults);

    [Fact]
    public void AKeyThatNobodyEverHadIsAFault() =>
        Assert.Contains(ConfigSample.Read("modules:\n  edgeProxy:\n    nobody:\n").Faults, fault => fault.What == "no such key");
}
