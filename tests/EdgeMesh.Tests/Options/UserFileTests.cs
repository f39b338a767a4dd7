using EdgeMesh.Agent.Options;
using EdgeMesh.Catalog;
using EdgeMesh.Testing;
using Xunit;

namespace EdgeMesh.Tests.Options;

/// <summary>Files as users of EdgeMesh 1.8 to 1.17 have them work unchanged.</summary>
public sealed class UserFileTests
{
    private static LoadedConfig Read(string name, AgentEnvironment environment) =>
        ConfigSample.Read(File.ReadAllText(Repository.PathOf($"tests/EdgeMesh.Tests/Options/user-files/{name}.yaml")), environment);

    [Fact]
    public void TheQuickStartFileWorks()
    {
        var loaded = Read("release-1.17-quickstart", ConfigSample.Cloud);
        Assert.True(loaded.Options!.Proxy.Enable);
        Assert.True(loaded.Options.Tunnel.Enable);
        Assert.Equal(["k8s-master", "edge-1"], loaded.Options.Tunnel.RelayNodes.Select(relay => relay.NodeName));
        Assert.Equal(EdgeTunnelKeys.PskPath.Path, Assert.Single(loaded.Warnings).Path);
    }

    [Fact]
    public void AFullFileHasOneWarningOfTheMissingPartsAndOneOfTheTunnelWithoutAKey()
    {
        var loaded = Read("release-1.17-full", ConfigSample.Cloud);
        Assert.Equal(ServiceFilterMode.FilterIfLabelDoesNotExists, loaded.Options!.Proxy.FilterMode);
        Assert.IsType<ClusterSource.InCluster>(loaded.Options.Source);
        Assert.False(loaded.Options.Tunnel.Enable);
        Assert.Equal((55, EdgeTunnelKeys.PskEnable.Path), (loaded.Warnings[1].Line, loaded.Warnings[1].Path));
        Assert.Equal(2, loaded.Warnings.Length);
        Assert.Equal((true, TimeSpan.FromSeconds(30)), (loaded.Options.Dns.Enable, loaded.Options.Dns.CacheOnly));
        Assert.Equal("10.96.0.10:53", Assert.Single(loaded.Options.Dns.Upstream.Servers).ToString());
        Assert.False(loaded.Options.Dns.Upstream.FindClusterDns);
        var warning = loaded.Warnings[0];
        Assert.Equal(
            "this release does not have these parts, and works without them: modules.edgeProxy.socks5Proxy (line 38), "
            + "modules.edgeProxy.loadBalancer.consistentHash (line 42), modules.edgeCNI (line 68)",
            warning.What);
    }

    [Fact]
    public void AFileOfRelease18KeepsItsMeaning()
    {
        var loaded = Read("release-1.8-edge", ConfigSample.Edge);
        Assert.Equal(("edgemesh7", "169.254.96.17", 40001), (loaded.Options!.DeviceName, loaded.Options.DeviceAddress.ToString(), loaded.Options.Proxy.ListenPort));
        Assert.IsType<ClusterSource.MetaServer>(loaded.Options.Source);
        Assert.Single(loaded.Warnings);
        Assert.True(loaded.Options.Dns.Enable);
        var retired = Assert.Single(loaded.Warnings, w => w.What.StartsWith("keys of older releases", StringComparison.Ordinal));
        Assert.Contains("commonConfig.dummyDeviceName (line 5; now commonConfig.bridgeDeviceName, and still read)", retired.What, StringComparison.Ordinal);
        Assert.Contains("goChassisConfig (line 14)", retired.What, StringComparison.Ordinal);
        Assert.Contains("modules.tunnel (line 36)", retired.What, StringComparison.Ordinal);
    }

    [Fact]
    public void AFileWithAKubeConfigGoesThere() =>
        Assert.Equal(new ClusterSource.ApiServer(new Uri("https://192.0.2.1:6443"), "/etc/kubernetes/edgemesh.conf"), Read("own-kubeconfig", ConfigSample.Edge).Options!.Source);
}
