using System.Text;
using EdgeMesh.Agent.Options;
using EdgeMesh.Testing;
using EdgeMesh.Tests.Deploy.Chart;
using EdgeMesh.Tests.Options;
using Xunit;

namespace EdgeMesh.Tests.Deploy.Migration;

/// <summary>Coming from the Go agent, and going back. Who made its objects, and with what the new ones are applied, decides what of
/// the old ones stays beside them.</summary>
public sealed class MigrationTests
{
    private static readonly string[] Manifests = ["01-serviceaccount.yaml", "02-rbac.yaml", "04-daemonset.yaml"];

    public enum Way
    {
        /// <summary>kubectl apply over what kubectl apply made.</summary>
        KubectlOverKubectl,

        /// <summary>kubectl apply, or with --server-side, over what Helm made: nothing of it is known to be gone.</summary>
        KubectlOverHelm,

        /// <summary>helm upgrade of EdgeMesh's own release.</summary>
        HelmOverHelm,
    }

    [Theory]
    [InlineData(Way.KubectlOverKubectl)]
    [InlineData(Way.KubectlOverHelm)]
    [InlineData(Way.HelmOverHelm)]
    public void TheUsersRelaysAndKeyAreUsedAndNoVolumeHasTwoSources(Way way)
    {
        var go = GoAgent.Objects();
        var after = After(way, go, out _);
        AssertValid(after);
        var pod = after.Pod();
        Assert.Equal("edgemesh-agent:0.1.0", Assert.Single(pod.Items("containers")).Text("image"));
        var config = after.Only("ConfigMap", pod.VolumeAt("/etc/edgemesh/config").Text("configMap", "name")).Text("data", "edgemesh-agent.yaml");
        var options = ConfigSample.Options(config, ConfigSample.Edge);
        Assert.Equal("relay-of-the-user", Assert.Single(options.Tunnel.RelayNodes).NodeName);
        Assert.Equal("/etc/edgemesh/psk", options.Tunnel.PskPath);
        var key = pod.VolumeAt("/etc/edgemesh");
        Assert.Equal(GoAgent.Key, KeyOf(after, key));
        Assert.Equal("256", (key.At("configMap") ?? key.At("secret")).Text("defaultMode"));
    }

    [Fact]
    public void KubectlApplyTouchesNeitherTheConfigurationNorTheKey()
    {
        var applied = Manifests.SelectMany(m => HelmChart.ObjectsIn(File.ReadAllText(Repository.PathOf($"deploy/manifests/{m}")))).ToList();
        Assert.DoesNotContain(applied, o => o.Text("kind") is "ConfigMap" or "Secret");
        Assert.Equal(
            [.. Manifests.Order(StringComparer.Ordinal)],
            Directory.GetFiles(Repository.PathOf("deploy/manifests")).Select(f => Path.GetFileName(f)!).Order(StringComparer.Ordinal));
    }

    [Theory]
    [InlineData(Way.KubectlOverKubectl)]
    [InlineData(Way.KubectlOverHelm)]
    [InlineData(Way.HelmOverHelm)]
    public void GoingBackIsTheSameWayAndLeavesAGoAgentThatIsAsItWas(Way way)
    {
        var go = GoAgent.Objects();
        var after = After(way, go, out var ours);
        var back = Applied.Over(after.Only("DaemonSet"), ours, go.Only("DaemonSet"));
        AssertValid([.. after.Where(o => o.Text("kind") != "DaemonSet"), back]);
        var pod = ((List<Dictionary<string, object?>>)[back]).Pod();
        var container = Assert.Single(pod.Items("containers"));
        Assert.Equal(("kubeedge/edgemesh-agent:v1.17.0", "true"), (container.Text("image"), container.Text("securityContext", "privileged")));
        Assert.Equal(["privileged"], ((Dictionary<string, object?>)container.At("securityContext")!).Keys);
        Assert.Equal(["conf", "psk"], new[] { "/etc/edgemesh/config", "/etc/edgemesh" }.Select(folder => pod.VolumeAt(folder).Text("name")));
        Assert.Null(container.At("args"));
        Assert.Null(container.At("livenessProbe"));
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void AKeyInASecretIsReadFromThere(bool knowsWhatWasBefore)
    {
        var go = GoAgent.Objects("secret: {secretName: my-key, defaultMode: 420}");
        var ours = HelmChart.Objects("agent: {pskSecret: my-key}").Only("DaemonSet");
        var after = Applied.Over(GoAgent.Live(go.Only("DaemonSet")), knowsWhatWasBefore ? go.Only("DaemonSet") : null, ours);
        AssertValid([after]);
        var key = ((List<Dictionary<string, object?>>)[after]).Pod().VolumeAt("/etc/edgemesh");
        Assert.Equal(("my-key", "256"), (key.Text("secret", "secretName"), key.Text("secret", "defaultMode")));
    }

    [Fact]
    public void AVolumeOfTheGoAgentsNameWouldHaveEndedWithTwoSources()
    {
        var live = GoAgent.Live(GoAgent.Objects().Only("DaemonSet"));
        var after = Applied.Over(live, null, HelmChart.Map("spec: {template: {spec: {volumes: [{name: psk, secret: {secretName: edgemesh-agent-psk}}]}}}"));
        Assert.ThrowsAny<Exception>(() => AssertValid([after]));
    }

    [Theory]
    [InlineData("", true, false)]
    [InlineData("  edgeDNS:\n    enable: true\n", true, true)]
    [InlineData("  edgeDNS:\n    enable: auto\n", true, false)]
    [InlineData("  edgeDNS:\n    enable: false\n", false, false)]
    public void NamesAreAnsweredWhereTheGoAgentAnswersThem(string module, bool atTheEdge, bool inTheCloud)
    {
        bool Answers(AgentEnvironment environment) => ConfigFile.Parse("agent.yaml", Encoding.UTF8.GetBytes("modules:\n  edgeProxy:\n    enable: true\n" + module), environment, new ConfigOverrides()).Options!.Dns.Enable;
        Assert.Equal((atTheEdge, inTheCloud), (Answers(ConfigSample.Edge), Answers(ConfigSample.Cloud)));
    }

    private static string KeyOf(List<Dictionary<string, object?>> objects, Dictionary<string, object?> volume) => volume.ContainsKey("configMap")
        ? objects.Only("ConfigMap", volume.Text("configMap", "name")).Text("data", "psk")
        : Encoding.UTF8.GetString(Convert.FromBase64String(objects.Only("Secret", volume.Text("secret", "secretName")).Text("data", "psk")));

    /// <param name="ours">What was applied for the DaemonSet.</param>
    private static List<Dictionary<string, object?>> After(Way way, List<Dictionary<string, object?>> go, out Dictionary<string, object?> ours)
    {
        var live = GoAgent.Live(go.Only("DaemonSet"));
        if (way == Way.HelmOverHelm)
        {
            var rendered = HelmChart.Objects($"agent: {{psk: '{GoAgent.Key}', relayNodes: [{{nodeName: relay-of-the-user, advertiseAddress: [203.0.113.9]}}]}}");
            ours = rendered.Only("DaemonSet");
            // Helm removes what the release before had and this one has not: the ConfigMap of the key.
            return [.. rendered.Where(o => o.Text("kind") != "DaemonSet"), Applied.Over(live, go.Only("DaemonSet"), ours)];
        }

        ours = HelmChart.ObjectsIn(File.ReadAllText(Repository.PathOf("deploy/manifests/04-daemonset.yaml"))).Only("DaemonSet");
        var before = way == Way.KubectlOverKubectl ? go.Only("DaemonSet") : null;
        return [.. go.Where(o => o.Text("kind") != "DaemonSet"), Applied.Over(live, before, ours)];
    }

    /// <summary>The API server's rules that an apply can break.</summary>
    private static void AssertValid(List<Dictionary<string, object?>> objects)
    {
        var pod = objects.Pod();
        foreach (var volume in pod.Items("volumes"))
            Assert.True(volume.Count == 2, $"volume {volume.Text("name")} has the sources {string.Join(", ", volume.Keys)}");
        Assert.Distinct(pod.Items("volumes").Select(v => v.Text("name")));
        foreach (var container in pod.Items("containers"))
        {
            Assert.Distinct(container.Items("volumeMounts").Select(m => m.Text("mountPath")));
            Assert.All(container.Items("volumeMounts"), m => Assert.Contains(pod.Items("volumes"), v => v.Text("name") == m.Text("name")));
            // "cannot set `allowPrivilegeEscalation` to false and `privileged` to true"
            Assert.False(container.At("securityContext", "privileged") is true && container.At("securityContext", "allowPrivilegeEscalation") is false);
        }

        var daemonSet = objects.Only("DaemonSet");
        Assert.Equal(daemonSet.At("spec", "selector", "matchLabels"), daemonSet.At("spec", "template", "metadata", "labels"));
        var rolling = daemonSet.At("spec", "updateStrategy", "rollingUpdate");
        Assert.False(rolling is not null && rolling.At("maxUnavailable") is 0L && rolling.At("maxSurge") is 0L, "neither may be given up nor added");
    }
}
