using System.Net;
using EdgeMesh.Agent.Options;
using EdgeMesh.Catalog;
using EdgeMesh.Kubernetes.Api;
using EdgeMesh.Netfilter.Iptables;
using Microsoft.Extensions.Logging;
using Xunit;

namespace EdgeMesh.Tests.Options;

public sealed class ConfigMeaningTests
{
    [Fact]
    public void WhatIsLeftOutHasItsDefault()
    {
        var options = ConfigSample.Options("modules: {edgeProxy: {enable: true}}");
        Assert.Equal(("edgemesh0", "169.254.96.16", "/var/lib/edgemesh"), (options.DeviceName, options.DeviceAddress.ToString(), options.StateDirectory));
        Assert.Equal((100, 200, LogLevel.Information), (options.Qps, options.Burst, options.LogLevel));
        Assert.Equal(new IPEndPoint(IPAddress.Loopback, 9999), options.AdminAddress);
        var proxy = options.Proxy;
        Assert.Equal((true, ServiceFilterMode.FilterIfLabelExists, ChainPrefix.EdgeMesh, RuleBackend.Auto), (proxy.Enable, proxy.FilterMode, proxy.ChainPrefix, proxy.Backend));
        Assert.Equal((20007, TimeSpan.FromSeconds(25), null, 1024, 4096), (proxy.ListenPort, proxy.DrainTimeout, proxy.MaxConnections, proxy.MaxPendingDials, proxy.MaxUdpFlows));
        Assert.Equal<ObjectName>([new("default", "kubernetes"), new("kube-system", "kube-dns"), new("kube-system", "coredns")], proxy.ExcludeServices);
    }

    [Theory]
    [InlineData("listenPort: 8_080", 8080)]
    [InlineData("listenPort: 0x1F90", 8080)]
    [InlineData("listenPort: 0o17620", 8080)]
    [InlineData("listenPort: 017620", 8080)]
    [InlineData("listenPort: 8080.0", 8080)]
    [InlineData("listenPort: 8e3", 8000)]
    [InlineData("LISTENPORT: 8080", 8080)]
    [InlineData("listenPort: ~", 20007)]
    [InlineData("listenPort:", 20007)]
    public void NumbersAndKeysAreReadAsGoReadsThem(string line, int port) =>
        Assert.Equal(port, ConfigSample.Options(ConfigSample.Proxy(line)).Proxy.ListenPort);

    [Theory]
    [InlineData("yes", true)]
    [InlineData("On", true)]
    [InlineData("TRUE", true)]
    [InlineData("y", true)]
    [InlineData("off", false)]
    [InlineData("No", false)]
    public void TruthHasTheWordsOfYaml11(string word, bool value) =>
        Assert.Equal(value, ConfigSample.Options($"modules: {{edgeProxy: {{enable: {word}}}}}").Proxy.Enable);

    [Theory]
    [InlineData("1m30s", 90_000)]
    [InlineData("500ms", 500)]
    [InlineData("1.5s", 1500)]
    [InlineData("0", 0)]
    public void DurationsAreThoseOfGo(string text, int milliseconds) =>
        Assert.Equal(milliseconds, ConfigSample.Options(ConfigSample.Proxy($"drainTimeout: {text}")).Proxy.DrainTimeout.TotalMilliseconds);

    [Fact]
    public void AnotherSpellingOfAKeyIsAcceptedWithAWarning()
    {
        var warning = Assert.Single(ConfigSample.Read(ConfigSample.Proxy("ListenPort: 8080")).Warnings);
        Assert.Equal((4, 5), (warning.Line, warning.Column));
        Assert.Contains("the exact spelling is listenPort", warning.ToString(), StringComparison.Ordinal);
    }

    [Fact]
    public void AnchorsAndMergeKeysWork()
    {
        var options = ConfigSample.Options("""
            modules:
              edgeDNS: &shared
                enable: true
              edgeProxy:
                <<: *shared
                listenPort: 8080
            """);
        Assert.True(options.Proxy.Enable);
        Assert.Equal(8080, options.Proxy.ListenPort);
    }

    [Theory]
    [InlineData("", true, "API server of this cluster, with the pod's service account")]
    [InlineData("", false, "metaServer http://127.0.0.1:10550/")]
    [InlineData("master: http://127.0.0.1:10550", false, "metaServer http://127.0.0.1:10550/")]
    [InlineData("master: https://192.0.2.1:6443", false, "API server https://192.0.2.1:6443/")]
    [InlineData("kubeConfig: /none", true, "API server of kubeconfig /none")]
    [InlineData("{kubeConfig: /none, manifests: /etc/m}", true, "manifests in /etc/m")]
    [InlineData("metaServer: {server: \"http://192.0.2.9:1\"}", false, "metaServer http://192.0.2.9:1/")]
    [InlineData("metaServer: {security: {requireAuthorization: true}}", false, "metaServer https://127.0.0.1:10550/")]
    [InlineData("metaServer: {server: \"http://192.0.2.9:1\", security: {requireAuthorization: true}}", false, "metaServer https://192.0.2.9:1/")]
    [InlineData("{master: \"http://127.0.0.1:10550\", metaServer: {security: {requireAuthorization: true}}}", false, "metaServer https://127.0.0.1:10550/")]
    [InlineData("{master: \"https://127.0.0.1:10550\", metaServer: {security: {requireAuthorization: true}}}", false, "metaServer https://127.0.0.1:10550/")]
    public void TheSourceIsChosenAsEdgeMeshChoosesIt(string kubeApi, bool cloud, string source)
    {
        var section = kubeApi.StartsWith('{') || kubeApi.Length == 0 ? kubeApi : $"{{{kubeApi}}}";
        var options = ConfigSample.Options($"modules: {{edgeProxy: {{enable: true}}}}\nkubeAPIConfig: {section}\n", cloud ? ConfigSample.Cloud : ConfigSample.Edge);
        Assert.Equal(source, options.Source.Description);
        Assert.Equal(cloud ? NodeKind.Cloud : NodeKind.Edge, options.NodeKind);
    }

    [Fact]
    public void TheCommandLineWinsOverTheFileAndTheEnvironment()
    {
        var overrides = new ConfigOverrides { Manifests = "/etc/m", NodeName = "named", Verbosity = 4 };
        var options = ConfigSample.Options("kubeAPIConfig: {kubeConfig: /none}\ncommonConfig: {logLevel: error}", overrides: overrides);
        Assert.Equal(("manifests in /etc/m", "named", LogLevel.Debug), (options.Source.Description, options.NodeName, options.LogLevel));
    }

    [Fact]
    public void TheNodeIsNamedByTheEnvironmentElseByTheHostInSmallLetters()
    {
        Assert.Equal("edge-1", ConfigSample.Options("kind: EdgeMeshAgent", ConfigSample.Edge).NodeName);
        Assert.Equal("host-a.example", ConfigSample.Options("kind: EdgeMeshAgent", ConfigSample.Node()).NodeName);
        var fault = Assert.Single(ConfigSample.Read("kind: EdgeMeshAgent", ConfigSample.Node(("NODE_NAME", "Bad_Name"))).Faults);
        Assert.Contains("NODE_NAME", fault.What, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("commonConfig: {adminAddress: \"0.0.0.0:9999\"}", "can be reached from outside this node")]
    [InlineData("commonConfig: {adminAddress: \"[::]:9999\"}", "can be reached from outside this node")]
    [InlineData("kubeAPIConfig: {burst: 10}", "lower than qps")]
    [InlineData("kubeAPIConfig: {kubeConfig: /none}", "the kubeconfig /none does not exist")]
    [InlineData("kubeAPIConfig: {manifests: /none}", "there is no folder /none")]
    [InlineData("kubeAPIConfig: {deleteKubeConfig: true}", "does not have these parts, and works without them: kubeAPIConfig.deleteKubeConfig (line 2)")]
    public void WhatAnOperatorShouldKnowIsAWarning(string line, string says)
    {
        var loaded = ConfigSample.Read($"modules: {{edgeProxy: {{enable: true}}}}\n{line}\n");
        Assert.Contains(says, Assert.Single(loaded.Warnings).ToString(), StringComparison.Ordinal);
        Assert.NotNull(loaded.Options);
    }

    [Fact]
    public void AnExcludeListWithoutTheApiServerIsAWarning()
    {
        var loaded = ConfigSample.Read(ConfigSample.Proxy("excludeServices: []"));
        Assert.Contains("does not hold default/kubernetes", Assert.Single(loaded.Warnings).What, StringComparison.Ordinal);
        Assert.Empty(loaded.Options!.Proxy.ExcludeServices);
    }

    [Fact]
    public void LoopbackByNameOrInIPv6IsNoWarning()
    {
        Assert.Empty(ConfigSample.Read("modules: {edgeProxy: {enable: true}}\ncommonConfig: {adminAddress: \"localhost:9000\"}").Warnings);
        Assert.Empty(ConfigSample.Read("modules: {edgeProxy: {enable: true}}\ncommonConfig: {adminAddress: \"[::1]:9000\"}").Warnings);
    }

    [Fact]
    public void ASecretThatEverybodyMayReadIsAWarningWithTheCommandThatMendsIt()
    {
        using var folder = new TemporaryFolder();
        var kubeConfig = folder.Write("kubeconfig", "{}");
        var psk = folder.Write("psk", "secret");
        SetMode(kubeConfig, UnixFileMode.UserRead | UnixFileMode.UserWrite);
        SetMode(psk, UnixFileMode.UserRead | UnixFileMode.OtherRead);
        var text = $"""
            modules: {"{"}edgeProxy: {"{"}enable: true{"}"}, edgeTunnel: {"{"}enable: true, psk: {"{"}path: {psk}{"}}}"}
            kubeAPIConfig: {"{"}kubeConfig: {kubeConfig}{"}"}
            """;
        var warnings = ConfigSample.Read(text).Warnings;
        var about = Assert.Single(warnings, w => w.Path.Length > 0);
        Assert.Equal((1, EdgeTunnelKeys.PskPath.Path), (about.Line, about.Path));
        Assert.Contains($"the tunnel stays off: The key file {psk} has mode 0404: others could read or change it. Run: chmod 600 {psk}", about.ToString(), StringComparison.Ordinal);
        Assert.DoesNotContain(warnings, w => w.ToString().Contains("secret", StringComparison.Ordinal));
    }

    [Fact]
    public void TheTunnelHasEdgeMeshsDefaults()
    {
        var tunnel = ConfigSample.Options("modules: {edgeTunnel: {enable: true}}").Tunnel;
        Assert.Equal((true, 20006, TimeSpan.FromSeconds(120), "/etc/edgemesh/psk"), (tunnel.Enable, tunnel.ListenPort, tunnel.HeartbeatPeriod, tunnel.PskPath));
        Assert.Equal(new EdgeTunnelLimits(10240, 10240, 1024, 1024), tunnel.Limits);
        Assert.True(tunnel.Devices.Matches("eth0"));
        Assert.Null(ConfigSample.Options("modules: {edgeTunnel: {enable: true, tunnelLimitConfig: {enable: false}}}").Tunnel.Limits);
    }

    [Theory]
    [InlineData("*", "", "eth0", true)]
    [InlineData("eth0,eth1", "", "eth1", true)]
    [InlineData("eth0, eth1", "", "eth10", false)]
    [InlineData("*", "docker0, veth*", "veth12", false)]
    [InlineData("eth*", "eth1", "eth0", true)]
    public void DevicesAreNamedWithCommasAndAnEnding(string wanted, string unwanted, string device, bool matches) =>
        Assert.Equal(matches, new DevicePattern(wanted, unwanted).Matches(device));

    [Fact]
    public void WhatKeepsTheTunnelOffOrARelayUnreachableIsAWarning()
    {
        Assert.Contains("the tunnel stays off", Warning("psk: {enable: false}"), StringComparison.Ordinal);
        Assert.Contains("r has no advertiseAddress", Warning("relayNodes: [{nodeName: r}]"), StringComparison.Ordinal);

        static string Warning(string tunnel) => string.Join('\n', ConfigSample.Read(
            $"modules: {{edgeProxy: {{enable: true}}, edgeTunnel: {{enable: true, {tunnel}}}}}").Warnings);
    }

    [Theory]
    [InlineData("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "key 1 is too short or too regular and could be guessed")]
    [InlineData("q1Zt0mXw7Lr4Yc9Vb2Ns6Kd8Hf3Jg5Ta1Pe0Uo7Iz4w=\nshort", "key 2 is too short")]
    [InlineData("JugH9HP1XBouyO5pWGeZa8LtipDURrf17EJvUHcJGuQ=\n", "printed in EdgeMesh's documents")]
    public void AKeyThatIsNoSecretIsAFaultOfTheConfiguration(string text, string says)
    {
        var fault = Assert.Single(WithPsk(text).Faults);
        Assert.Contains(says, fault.What, StringComparison.Ordinal);
        Assert.DoesNotContain(text.Split('\n')[0][2..], fault.ToString(), StringComparison.Ordinal);
    }

    [Fact]
    public void AKeyFileThatMayStillBeFilledIsAWarning() =>
        Assert.Contains("holds 0 keys", Assert.Single(WithPsk("# nothing yet\n").Warnings).What, StringComparison.Ordinal);

    private static LoadedConfig WithPsk(string text)
    {
        using var folder = new TemporaryFolder();
        var psk = folder.Write("psk", text);
        SetMode(psk, UnixFileMode.UserRead | UnixFileMode.UserWrite);
        return ConfigSample.Read($"modules: {{edgeProxy: {{enable: true}}, edgeTunnel: {{enable: true, psk: {{path: {psk}}}}}}}");
    }

    private static void SetMode(string path, UnixFileMode mode)
    {
        if (OperatingSystem.IsLinux())
            File.SetUnixFileMode(path, mode);
    }
}
