using System.Text;
using EdgeMesh.Agent.Options;
using EdgeMesh.Kubernetes;
using EdgeMesh.Testing;
using EdgeMesh.Tests.Options;
using Xunit;

namespace EdgeMesh.Tests.Deploy.Chart;

/// <summary>The chart with the values of EdgeMesh's users. The renderer knows the functions that the chart uses; Helm itself comes
/// with no package that a test could install.</summary>
public sealed class HelmChartTests
{
    /// <summary>As EdgeMesh's documents have them, every section that its chart takes.</summary>
    private const string UserValues = """
        agent:
          image: example.org/edgemesh-agent:0.1.0
          psk: c29tZSByYW5kb20gYnl0ZXMgZm9yIGEga2V5IG9mIDMyIQ==
          relayNodes:
            - nodeName: k8s-master
              advertiseAddress: [203.0.113.7, relay.example.org]
          metaServerSecret: metaserver-certs
          kubeAPIConfig:
            qps: 50
            metaServer:
              server: https://127.0.0.1:10550
              security:
                requireAuthorization: true
          commonConfig:
            bridgeDeviceName: edgemesh0
            bridgeDeviceIP: 169.254.96.16
          modules:
            edgeDNS:
              enable: true
              cacheDNS:
                upstreamServers: [10.96.0.10]
            edgeProxy:
              enable: true
              serviceFilterMode: FilterIfLabelDoesNotExists
              socks5Proxy:
                enable: false
            edgeTunnel:
              enable: true
              psk:
                enable: true
                path: /etc/edgemesh/psk
              listenInterfaces: eth0,wlan*
              tunnelLimitConfig:
                tunnelPeerBaseStreamIn: 2048
          nodeSelector:
            site: plant-1
          resources:
            limits:
              cpu: 1
              memory: 256Mi
        """;

    [Fact]
    public void TheValuesOfEdgeMeshsChartBecomeTheConfiguration()
    {
        var text = HelmChart.Objects(UserValues).Only("ConfigMap").Text("data", "edgemesh-agent.yaml");
        var loaded = ConfigFile.Parse("edgemesh-agent.yaml", Encoding.UTF8.GetBytes(text), ConfigSample.Edge, new ConfigOverrides());
        Assert.Empty(loaded.Faults);
        var options = loaded.Options!;
        Assert.Equal((50, "edgemesh0", "169.254.96.16"), (options.Qps, options.DeviceName, options.DeviceAddress.ToString()));
        Assert.Equal("https://127.0.0.1:10550/", Assert.IsType<ClusterSource.MetaServer>(options.Source).Options.Address);
        Assert.Equal(EdgeMesh.Catalog.ServiceFilterMode.FilterIfLabelDoesNotExists, options.Proxy.FilterMode);
        Assert.Equal((true, 2048), (options.Tunnel.Enable, options.Tunnel.Limits!.PeerStreamsIn));
        var relay = Assert.Single(options.Tunnel.RelayNodes);
        Assert.Equal("k8s-master", relay.NodeName);
        Assert.Equal(2, relay.AdvertiseAddress.Length);
        Assert.True(options.Tunnel.Devices.Matches("wlan1") && !options.Tunnel.Devices.Matches("eth1"));
    }

    [Fact]
    public void ARelayMayStandInEitherPlaceAndTheShortOneWins()
    {
        static string Relay(string values) =>
            Assert.Single(ConfigSample.Options(HelmChart.Objects(values).Only("ConfigMap").Text("data", "edgemesh-agent.yaml")).Tunnel.RelayNodes).NodeName;
        const string Modules = "agent: {modules: {edgeTunnel: {relayNodes: [{nodeName: in-modules, advertiseAddress: [192.0.2.1]}]}}";
        Assert.Equal("in-modules", Relay(Modules + "}"));
        Assert.Equal("above", Relay(Modules + ", relayNodes: [{nodeName: above, advertiseAddress: [192.0.2.2]}]}"));
    }

    [Fact]
    public void TheKeyGoesIntoASecretThatTheAgentAloneReads()
    {
        var objects = HelmChart.Objects(UserValues);
        Assert.Equal("c29tZSByYW5kb20gYnl0ZXMgZm9yIGEga2V5IG9mIDMyIQ==", Encoding.UTF8.GetString(Convert.FromBase64String(objects.Only("Secret").Text("data", "psk"))));
        var volume = objects.Pod().VolumeAt("/etc/edgemesh");
        Assert.Equal((objects.Only("Secret").Text("metadata", "name"), "256"), (volume.Text("secret", "secretName"), volume.Text("secret", "defaultMode")));
        Assert.DoesNotContain("c29tZSByYW5kb20", string.Concat(HelmChart.Templates.Except(["03-configmap.yaml"]).Select(t => HelmChart.Render(t, UserValues))), StringComparison.Ordinal);
        Assert.DoesNotContain("c29tZSByYW5kb20", HelmChart.Render("NOTES.txt", UserValues), StringComparison.Ordinal);

        volume = HelmChart.Objects("agent: {pskSecret: mine}").Pod().VolumeAt("/etc/edgemesh");
        Assert.Equal(("mine", "256"), (volume.Text("secret", "secretName"), volume.Text("secret", "defaultMode")));
    }

    [Fact]
    public void AKeyThatOnlyTheReleaseBeforeHadIsKept()
    {
        object? Live(string kind, string name) =>
            kind == "ConfigMap" && name == "em-agent-psk" ? HelmChart.Map("data: {psk: the-key-of-before}") : null;
        var objects = HelmChart.Objects(release: "em", live: Live);
        Assert.Equal("the-key-of-before", objects.Only("ConfigMap", "em-agent-psk").Text("data", "psk"));
        Assert.Equal("em-agent-psk", objects.Pod().VolumeAt("/etc/edgemesh").Text("configMap", "name"));
        Assert.DoesNotContain(HelmChart.Objects("agent: {psk: another}", "em", Live), o => o.Text("kind") == "ConfigMap" && o.Text("metadata", "name") == "em-agent-psk");
    }

    [Fact]
    public void TheRestOfAUsersValuesReachesThePod()
    {
        var objects = HelmChart.Objects(UserValues, "mesh");
        var pod = objects.Pod();
        var container = Assert.Single(pod.Items("containers"));
        Assert.Equal(("mesh-agent", "mesh-agent", "mesh-agent"), (objects.Only("DaemonSet").Text("metadata", "name"), container.Text("name"), pod.Text("serviceAccountName")));
        Assert.Equal("example.org/edgemesh-agent:0.1.0", container.Text("image"));
        Assert.Equal("metaserver-certs", pod.VolumeAt("/etc/edgemesh/metaserver").Text("secret", "secretName"));
        Assert.Equal(("linux", "plant-1"), (pod.At("nodeSelector").Text("kubernetes.io/os"), pod.At("nodeSelector").Text("site")));
        Assert.Equal(("1", "256Mi", "128Mi"), (container.Text("resources", "limits", "cpu"), container.Text("resources", "limits", "memory"), container.Text("resources", "requests", "memory")));
        Assert.Equal("Exists", Assert.Single(pod.Items("tolerations")).Text("operator"));
        pod = HelmChart.Objects("agent: {updateStrategy: OnDelete, tolerations: [{key: a, operator: Exists}], affinity: {nodeAffinity: {}}}").Pod();
        Assert.Equal("a", Assert.Single(pod.Items("tolerations")).Text("key"));
        Assert.NotNull(pod.At("affinity", "nodeAffinity"));
    }

    [Fact]
    public void OnDeleteLeavesNothingOfARollingUpdate()
    {
        var strategy = HelmChart.Objects("agent: {updateStrategy: OnDelete}").Only("DaemonSet").At("spec", "updateStrategy");
        Assert.Equal("OnDelete", strategy.Text("type"));
        Assert.Null(strategy.At("rollingUpdate"));
    }

    /// <summary>Then no value is there that only this chart has.</summary>
    [Fact]
    public void TheDefaultsOfEdgeMeshsChartAreEnoughForHelmsReuseOfValues()
    {
        const string Defaults = """
            agent:
              image: kubeedge/edgemesh-agent:v1.17.0
              affinity: {}
              nodeSelector: {}
              tolerations: []
              resources: {limits: {cpu: 1, memory: 256Mi}, requests: {cpu: 0.5, memory: 128Mi}}
              psk: a-key
              modules: {edgeProxy: {enable: true}, edgeTunnel: {enable: true}}
            """;
        var objects = HelmChart.Objects("agent: {image: 'mine:1'}", chartValues: Defaults);
        Assert.Equal("RollingUpdate", objects.Only("DaemonSet").Text("spec", "updateStrategy", "type"));
        Assert.Equal("edgemesh-agent-psk", objects.Pod().VolumeAt("/etc/edgemesh").Text("secret", "secretName"));
        Assert.True(ConfigSample.Options(objects.Only("ConfigMap").Text("data", "edgemesh-agent.yaml")).Tunnel.Enable);
        Assert.Contains("rollout status", HelmChart.Render("NOTES.txt", "agent: {image: 'mine:1'}", chartValues: Defaults), StringComparison.Ordinal);
    }

    [Fact]
    public void TheGoAgentsImageIsRefusedByName()
    {
        var refused = Assert.Throws<InvalidOperationException>(() => HelmChart.Objects("agent: {image: 'kubeedge/edgemesh-agent:v1.17.0'}"));
        Assert.Contains("set agent.image", refused.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void RightsAtTheEdgeAreTheTwoKindsThatTheMetaServerIsAskedForAndOnlyWhereItAsksForAuthorization()
    {
        Assert.Single(HelmChart.Objects(), o => o.Text("kind") == "ClusterRole");
        var objects = HelmChart.Objects(UserValues);
        Assert.Equal(["core/services: list,watch", "core/endpoints: list,watch"], ManifestTests.Granted(objects.Only("ClusterRole", "edgemesh-agent-edge")));
        var subject = Assert.Single(objects.Only("ClusterRoleBinding", "edgemesh-agent-edge").Items("subjects"));
        Assert.Equal(("Group", "system:nodes"), (subject.Text("kind"), subject.Text("name")));
        Assert.Equal(2, objects.Count(o => o.Text("kind") == "ClusterRole"));
        Assert.All(ManifestTests.Granted(objects.Only("ClusterRole", "edgemesh-agent-edge")), rule => Assert.Contains(rule, RequiredAccess.Rules.Select(r => r.ToString())));
    }

    [Fact]
    public void CloudcoreMayActForTheNamedNodesAlone()
    {
        var objects = HelmChart.Objects(UserValues + "\n  metaServerNodes: [edge-1, edge-2]\n");
        var rules = objects.Only("ClusterRole", "edgemesh-agent-cloudcore").Items("rules");
        Assert.Equal(["create"], rules[0].Texts("verbs"));
        Assert.Equal(["system:nodes"], rules[1].Texts("resourceNames"));
        Assert.Equal(["system:node:edge-1", "system:node:edge-2"], rules[2].Texts("resourceNames"));
        Assert.Equal("cloudcore", Assert.Single(objects.Only("ClusterRoleBinding", "edgemesh-agent-cloudcore").Items("subjects")).Text("name"));
        Assert.Equal(objects.Count(o => o.Text("kind") == "ClusterRole"), objects.Count(o => o.Text("kind") == "ClusterRoleBinding"));
    }

    [Fact]
    public void TheNotesSayHowToCheckAndWhatIsMissing()
    {
        var notes = HelmChart.Render("NOTES.txt", release: "em");
        Assert.Contains("kubectl -n kubeedge rollout status daemonset/em-agent\n", notes, StringComparison.Ordinal);
        Assert.Contains($"config check {ConfigFile.DefaultPath}\n", notes, StringComparison.Ordinal);
        Assert.Contains("No key was given", notes, StringComparison.Ordinal);
        notes = HelmChart.Render("NOTES.txt", UserValues);
        Assert.DoesNotContain("No key was given", notes, StringComparison.Ordinal);
        Assert.Contains("metaServerNodes", notes, StringComparison.Ordinal);
    }

    [Fact]
    public void EveryValueIsUsedInATemplate()
    {
        var templates = string.Concat(HelmChart.Templates.Append("NOTES.txt").Select(t => File.ReadAllText(Repository.PathOf($"{HelmChart.Folder}/templates/{t}"))));
        var values = HelmChart.Map(File.ReadAllText(Repository.PathOf($"{HelmChart.Folder}/values.yaml")));
        Assert.All(((Dictionary<string, object?>)values.At("agent")!).Keys, key => Assert.Contains($".Values.agent.{key}", templates, StringComparison.Ordinal));
        Assert.Equal(EdgeMesh.Agent.AgentVersion.Text, HelmChart.Map(File.ReadAllText(Repository.PathOf($"{HelmChart.Folder}/Chart.yaml"))).Text("appVersion"));
    }
}
