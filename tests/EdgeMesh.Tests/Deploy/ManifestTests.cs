using System.Text;
using EdgeMesh.Agent.Commands;
using EdgeMesh.Agent.Options;
using EdgeMesh.Kubernetes;
using EdgeMesh.Tests.Options;
using Xunit;
using YamlDotNet.RepresentationModel;

namespace EdgeMesh.Tests.Deploy;

public sealed class ManifestTests
{
    private static readonly string[] Files = ["01-serviceaccount.yaml", "02-rbac.yaml", "03-configmap.yaml", "04-daemonset.yaml"];

    [Fact]
    public void TheFolderHoldsTheseObjectsAndNoOther()
    {
        Assert.Equal(Files, Directory.GetFiles(Repository.PathOf("deploy/manifests")).Select(f => Path.GetFileName(f)!).Order(StringComparer.Ordinal));
        Assert.Equal(
            ["ServiceAccount", "ClusterRole", "ClusterRoleBinding", "ConfigMap", "DaemonSet"],
            Files.SelectMany(Objects).Select(o => Text(o, "kind")));
    }

    [Fact]
    public void TheConfigurationInThemPassesTheCheckWithoutAWarning()
    {
        var text = Text(Only("ConfigMap"), "data", "edgemesh-agent.yaml");
        foreach (var environment in new[] { ConfigSample.Cloud, ConfigSample.Edge })
        {
            var loaded = ConfigFile.Parse("edgemesh-agent.yaml", Encoding.UTF8.GetBytes(text), environment, new ConfigOverrides());
            Assert.Empty(loaded.Faults);
            Assert.Empty(loaded.Warnings);
            Assert.True(loaded.Options!.Proxy.Enable);
        }
    }

    [Fact]
    public void TheRoleGrantsExactlyWhatTheSourcesAskFor()
    {
        var granted = Items(Only("ClusterRole"), "rules")
            .SelectMany(rule => Texts(rule, "apiGroups").SelectMany(group => Texts(rule, "resources")
                .Select(resource => new AccessRule(group, resource, [.. Texts(rule, "verbs")]).ToString())));
        Assert.Equal(
            RequiredAccess.Rules.Select(r => r.ToString()).Order(StringComparer.Ordinal),
            granted.Order(StringComparer.Ordinal));
    }

    [Fact]
    public void TheAccountIsTheSameEverywhere()
    {
        var account = Text(Only("ServiceAccount"), "metadata", "name");
        var binding = Only("ClusterRoleBinding");
        var subject = Assert.Single(Items(binding, "subjects"));
        Assert.Equal((account, Text(Only("ServiceAccount"), "metadata", "namespace")), (Text(subject, "name"), Text(subject, "namespace")));
        Assert.Equal(Text(Only("ClusterRole"), "metadata", "name"), Text(binding, "roleRef", "name"));
        Assert.Equal(account, Text(Pod(), "serviceAccountName"));
    }

    [Fact]
    public void TheGracePeriodIsLongerThanTheDrain()
    {
        var config = ConfigSample.Options(Text(Only("ConfigMap"), "data", "edgemesh-agent.yaml"));
        var grace = TimeSpan.FromSeconds(int.Parse(Text(Pod(), "terminationGracePeriodSeconds"), System.Globalization.CultureInfo.InvariantCulture));
        Assert.True(grace >= config.Proxy.DrainTimeout + TimeSpan.FromSeconds(10), $"{grace} after a drain of {config.Proxy.DrainTimeout}");
    }

    [Fact]
    public async Task ARollingUpdateStartsTheNewAgentBesideTheOldOneWhichWaitsToBeRemoved()
    {
        var update = At(Only("DaemonSet"), "spec", "updateStrategy", "rollingUpdate");
        Assert.Equal("0", Text(update, "maxUnavailable"));
        Assert.NotEqual("0", Text(update, "maxSurge"));
        Assert.True(int.Parse(Text(Only("DaemonSet"), "spec", "minReadySeconds"), System.Globalization.CultureInfo.InvariantCulture) >= 10);
        using var folder = new TemporaryFolder();
        var file = folder.Write("edgemesh-agent.yaml", Text(Only("ConfigMap"), "data", "edgemesh-agent.yaml"));
        RunArguments? run = null;
        var handlers = new CommandHandlers
        {
            Run = (arguments, _) =>
            {
                run = arguments;
                return Task.FromResult(0);
            },
        };
        var line = Texts(Container(), "args").Select(argument => argument == ConfigFile.DefaultPath ? file : argument).ToList();
        Assert.Equal(0, await AgentCommandLine.InvokeAsync(line, ConfigSample.Cloud, handlers, TextWriter.Null, TextWriter.Null));
        Assert.True(run is { TakeOver: true, StayWhenTakenOver: true });
    }

    [Fact]
    public void TheContainerHasTwoCapabilitiesAndAReadOnlyRoot()
    {
        Assert.Equal(["ALL"], Texts(Container(), "securityContext", "capabilities", "drop"));
        Assert.Equal(["NET_ADMIN", "NET_RAW"], Texts(Container(), "securityContext", "capabilities", "add"));
        Assert.Equal(("true", "false", "false"), (Text(Container(), "securityContext", "readOnlyRootFilesystem"),
            Text(Container(), "securityContext", "privileged"), Text(Container(), "securityContext", "allowPrivilegeEscalation")));
        var document = File.ReadAllText(Repository.PathOf("docs/configuration.md"));
        Assert.Contains("`NET_ADMIN`", document, StringComparison.Ordinal);
        Assert.Contains("`NET_RAW`", document, StringComparison.Ordinal);
        var unit = File.ReadAllText(Repository.PathOf("deploy/systemd/edgemesh-agent.service"));
        Assert.Contains("CapabilityBoundingSet=CAP_NET_ADMIN CAP_NET_RAW\n", unit, StringComparison.Ordinal);
    }

    [Fact]
    public void TheProbesAskWhereTheAgentAnswers()
    {
        var admin = ConfigSample.Options(Text(Only("ConfigMap"), "data", "edgemesh-agent.yaml")).AdminAddress;
        foreach (var (probe, path) in new[] { ("livenessProbe", "/livez"), ("readinessProbe", "/readyz") })
        {
            Assert.Equal(
                (admin.Address.ToString(), admin.Port.ToString(System.Globalization.CultureInfo.InvariantCulture), path),
                (Text(Container(), probe, "httpGet", "host"), Text(Container(), probe, "httpGet", "port"), Text(Container(), probe, "httpGet", "path")));
        }
    }

    [Fact]
    public void TheAgentFindsItsFileItsStateAndTheLockWhereTheyAreMounted()
    {
        var config = ConfigSample.Options(ConfigText.Minimal());
        var mounts = Items(Container(), "volumeMounts").ToDictionary(m => Text(m, "mountPath"), m => Text(m, "name"), StringComparer.Ordinal);
        var volumes = Items(Pod(), "volumes").ToDictionary(v => Text(v, "name"), v => v, StringComparer.Ordinal);
        Assert.Equal(volumes.Keys.Order(StringComparer.Ordinal), mounts.Values.Order(StringComparer.Ordinal));
        Assert.Equal(Text(Only("ConfigMap"), "metadata", "name"), Text(volumes[mounts[Path.GetDirectoryName(ConfigFile.DefaultPath)!]], "configMap", "name"));
        Assert.Equal(config.StateDirectory, Text(volumes[mounts[config.StateDirectory]], "hostPath", "path"));
        Assert.Equal("/run/xtables.lock", Text(volumes[mounts["/run/xtables.lock"]], "hostPath", "path"));
        Assert.Equal(["run", "--config-file", ConfigFile.DefaultPath], Texts(Container(), "args").Take(3));
        Assert.Equal(("true", "ClusterFirstWithHostNet"), (Text(Pod(), "hostNetwork"), Text(Pod(), "dnsPolicy")));
        Assert.Equal("spec.nodeName", Text(Items(Container(), "env").Single(e => Text(e, "name") == "NODE_NAME"), "valueFrom", "fieldRef", "fieldPath"));
    }

    [Fact]
    public void TheKeyOfTheTunnelMayBeMissingAndOthersMayNotReadIt()
    {
        var volume = At(Items(Pod(), "volumes").Single(v => Text(v, "name") == "psk"), "secret");
        Assert.Equal(("edgemesh-agent-psk", "true", "0400"), (Text(volume, "secretName"), Text(volume, "optional"), Text(volume, "defaultMode")));
        var mount = Text(Items(Container(), "volumeMounts").Single(m => Text(m, "name") == "psk"), "mountPath");
        var text = Text(Only("ConfigMap"), "data", "edgemesh-agent.yaml");
        var example = text[..text.IndexOf("# The tunnel", StringComparison.Ordinal)].TrimEnd() + "\n"
            + string.Join('\n', text[text.IndexOf("  # edgeTunnel:", StringComparison.Ordinal)..].Split('\n').Select(line => line.Replace("# ", "", StringComparison.Ordinal)));
        var tunnel = ConfigSample.Options(example).Tunnel;
        Assert.True(tunnel.Enable);
        Assert.Equal($"{mount}/psk", tunnel.PskPath);
        Assert.Equal("name-of-a-cloud-node", Assert.Single(tunnel.RelayNodes).NodeName);
    }

    private static IEnumerable<YamlNode> Objects(string file)
    {
        var stream = new YamlStream();
        stream.Load(new StringReader(File.ReadAllText(Repository.PathOf($"deploy/manifests/{file}"))));
        return stream.Documents.Select(d => d.RootNode);
    }

    private static YamlNode Only(string kind) => Files.SelectMany(Objects).Single(o => Text(o, "kind") == kind);

    private static YamlNode Pod() => At(Only("DaemonSet"), "spec", "template", "spec");

    private static YamlNode Container() => Assert.Single(Items(Pod(), "containers"));

    private static YamlNode At(YamlNode node, params string[] path) => path.Aggregate(node, (current, name) => current[name]);

    private static string Text(YamlNode node, params string[] path) => ((YamlScalarNode)At(node, path)).Value!;

    private static IEnumerable<YamlNode> Items(YamlNode node, params string[] path) => (YamlSequenceNode)At(node, path);

    private static IEnumerable<string> Texts(YamlNode node, params string[] path) => Items(node, path).Select(n => ((YamlScalarNode)n).Value!);
}
