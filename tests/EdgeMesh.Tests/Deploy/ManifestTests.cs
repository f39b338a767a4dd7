using System.Globalization;
using System.Text;
using EdgeMesh.Agent.Commands;
using EdgeMesh.Agent.Options;
using EdgeMesh.Kubernetes;
using EdgeMesh.Testing;
using EdgeMesh.Tests.Deploy.Chart;
using EdgeMesh.Tests.Options;
using Xunit;

namespace EdgeMesh.Tests.Deploy;

public sealed class ManifestTests
{
    /// <summary>What a user has already (the Go agent's, or edited) is in a folder of its own, which <c>kubectl apply</c> on the
    /// folder above does not look into.</summary>
    private static readonly string[] Files = ["01-serviceaccount.yaml", "02-rbac.yaml", "04-daemonset.yaml", "first/03-configmap.yaml"];

    private static readonly List<Dictionary<string, object?>> Objects =
        [.. Files.SelectMany(f => HelmChart.ObjectsIn(File.ReadAllText(Repository.PathOf($"deploy/manifests/{f}"))))];

    private static string Config => Objects.Only("ConfigMap").Text("data", "edgemesh-agent.yaml");

    private static Dictionary<string, object?> Pod => Objects.Pod();

    private static Dictionary<string, object?> Container => Assert.Single(Pod.Items("containers"));

    [Fact]
    public void TheyAreTheRenderedChartWithItsDefaultValues()
    {
        foreach (var file in Files)
        {
            var path = Repository.PathOf($"deploy/manifests/{file}");
            var rendered = HelmChart.Render(Path.GetFileName(file));
            if (Environment.GetEnvironmentVariable("UPDATE_GOLDEN") == "1")
                File.WriteAllText(path, rendered);
            Assert.Equal(rendered, File.ReadAllText(path));
        }
    }

    [Fact]
    public void TheFolderHoldsTheseObjectsAndNoOther()
    {
        var folder = Repository.PathOf("deploy/manifests");
        Assert.Equal(Files, Directory.GetFiles(folder, "*", SearchOption.AllDirectories).Select(f => Path.GetRelativePath(folder, f)).Order(StringComparer.Ordinal));
        Assert.Equal(HelmChart.Templates, Files.Select(f => Path.GetFileName(f)!).Order(StringComparer.Ordinal));
        Assert.Equal(["ServiceAccount", "ClusterRole", "ClusterRoleBinding", "DaemonSet", "ConfigMap"], Objects.Select(o => o.Text("kind")));
    }

    [Fact]
    public void TheConfigurationInThemPassesTheCheckAndWantsItsKey()
    {
        foreach (var environment in new[] { ConfigSample.Cloud, ConfigSample.Edge })
        {
            var loaded = ConfigFile.Parse("edgemesh-agent.yaml", Encoding.UTF8.GetBytes(Config), environment, new ConfigOverrides());
            Assert.Empty(loaded.Faults);
            Assert.Equal(["modules.edgeTunnel.psk.path"], loaded.Warnings.Select(w => w.Path));
            Assert.True(loaded.Options is { Proxy.Enable: true, Tunnel.Enable: true });
            Assert.Equal(environment == ConfigSample.Edge, loaded.Options.Dns.Enable);
        }
    }

    [Fact]
    public void TheRoleGrantsExactlyWhatTheSourcesAskFor() =>
        Assert.Equal(
            RequiredAccess.Rules.Select(r => r.ToString()).Order(StringComparer.Ordinal),
            Granted(Objects.Only("ClusterRole")).Order(StringComparer.Ordinal));

    [Fact]
    public void TheAccountIsTheSameEverywhere()
    {
        var account = Objects.Only("ServiceAccount").Text("metadata", "name");
        var binding = Objects.Only("ClusterRoleBinding");
        var subject = Assert.Single(binding.Items("subjects"));
        Assert.Equal((account, Objects.Only("ServiceAccount").Text("metadata", "namespace")), (subject.Text("name"), subject.Text("namespace")));
        Assert.Equal(Objects.Only("ClusterRole").Text("metadata", "name"), binding.Text("roleRef", "name"));
        Assert.Equal(account, Pod.Text("serviceAccountName"));
    }

    [Fact]
    public void TheGracePeriodIsLongerThanTheDrain()
    {
        var config = ConfigSample.Options(Config);
        var grace = TimeSpan.FromSeconds(int.Parse(Pod.Text("terminationGracePeriodSeconds"), CultureInfo.InvariantCulture));
        Assert.True(grace >= config.Proxy.DrainTimeout + TimeSpan.FromSeconds(10), $"{grace} after a drain of {config.Proxy.DrainTimeout}");
    }

    [Fact]
    public async Task ARollingUpdateStartsTheNewAgentBesideTheOldOneWhichWaitsToBeRemoved()
    {
        var update = Objects.Only("DaemonSet").At("spec", "updateStrategy", "rollingUpdate");
        Assert.Equal("0", update.Text("maxUnavailable"));
        Assert.NotEqual("0", update.Text("maxSurge"));
        Assert.True(int.Parse(Objects.Only("DaemonSet").Text("spec", "minReadySeconds"), CultureInfo.InvariantCulture) >= 10);
        using var folder = new TemporaryFolder();
        var file = folder.Write("edgemesh-agent.yaml", Config);
        RunArguments? run = null;
        var handlers = new CommandHandlers
        {
            Run = (arguments, _) =>
            {
                run = arguments;
                return Task.FromResult(0);
            },
        };
        var line = Container.Texts("args").Select(argument => argument == ConfigFile.DefaultPath ? file : argument).ToList();
        Assert.Equal(0, await AgentCommandLine.InvokeAsync(line, ConfigSample.Cloud, handlers, TextWriter.Null, TextWriter.Null));
        Assert.True(run is { TakeOver: true, StayWhenTakenOver: true });
    }

    [Fact]
    public void TheContainerHasThreeCapabilitiesAndAReadOnlyRoot()
    {
        Assert.Equal(["ALL"], Container.Texts("securityContext", "capabilities", "drop"));
        Assert.Equal(["NET_ADMIN", "NET_RAW", "NET_BIND_SERVICE"], Container.Texts("securityContext", "capabilities", "add"));
        Assert.Equal(("true", "false", "false"), (Container.Text("securityContext", "readOnlyRootFilesystem"),
            Container.Text("securityContext", "privileged"), Container.Text("securityContext", "allowPrivilegeEscalation")));
        var document = File.ReadAllText(Repository.PathOf("docs/configuration.md"));
        Assert.Contains("`NET_ADMIN`", document, StringComparison.Ordinal);
        Assert.Contains("`NET_RAW`", document, StringComparison.Ordinal);
        Assert.Contains("`NET_BIND_SERVICE`", document, StringComparison.Ordinal);
        var unit = File.ReadAllText(Repository.PathOf("deploy/systemd/edgemesh-agent.service"));
        Assert.Contains("CapabilityBoundingSet=CAP_NET_ADMIN CAP_NET_RAW CAP_NET_BIND_SERVICE\n", unit, StringComparison.Ordinal);
    }

    [Fact]
    public void TheProbesAskWhereTheAgentAnswers()
    {
        var admin = ConfigSample.Options(Config).AdminAddress;
        foreach (var (probe, path) in new[] { ("livenessProbe", "/livez"), ("readinessProbe", "/readyz") })
        {
            Assert.Equal(
                (admin.Address.ToString(), admin.Port.ToString(CultureInfo.InvariantCulture), path),
                (Container.Text(probe, "httpGet", "host"), Container.Text(probe, "httpGet", "port"), Container.Text(probe, "httpGet", "path")));
        }
    }

    [Fact]
    public void TheAgentFindsItsFileItsStateItsKeyAndTheLockWhereTheyAreMounted()
    {
        var config = ConfigSample.Options(ConfigText.Minimal());
        Assert.Equal(
            Pod.Items("volumes").Select(v => v.Text("name")).Order(StringComparer.Ordinal),
            Container.Items("volumeMounts").Select(m => m.Text("name")).Order(StringComparer.Ordinal));
        Assert.Equal(Objects.Only("ConfigMap").Text("metadata", "name"), Pod.VolumeAt(Path.GetDirectoryName(ConfigFile.DefaultPath)!).Text("configMap", "name"));
        Assert.Equal(config.StateDirectory, Pod.VolumeAt(config.StateDirectory).Text("hostPath", "path"));
        Assert.Equal("/run/xtables.lock", Pod.VolumeAt("/run/xtables.lock").Text("hostPath", "path"));
        var key = Pod.VolumeAt(Path.GetDirectoryName(ConfigSample.Options(Config).Tunnel.PskPath)!);
        Assert.Equal(("edgemesh-agent-psk", "256"), (key.Text("configMap", "name"), key.Text("configMap", "defaultMode")));
        Assert.Equal(["run", "--config-file", ConfigFile.DefaultPath], Container.Texts("args").Take(3));
        Assert.Equal(("true", "Default"), (Pod.Text("hostNetwork"), Pod.Text("dnsPolicy")));
        Assert.Equal("spec.nodeName", Container.Items("env").Single(e => e.Text("name") == "NODE_NAME").Text("valueFrom", "fieldRef", "fieldPath"));
    }

    internal static IEnumerable<string> Granted(Dictionary<string, object?> role) =>
        role.Items("rules").SelectMany(rule => rule.Texts("apiGroups").SelectMany(_ => rule.Texts("resources"), (group, resource) =>
            new AccessRule(group, resource, [.. rule.Texts("verbs")]).ToString()));
}
