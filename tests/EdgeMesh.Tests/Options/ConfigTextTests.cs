using System.Text;
using EdgeMesh.Agent.Options;
using EdgeMesh.Testing;
using Xunit;

namespace EdgeMesh.Tests.Options;

public sealed class ConfigTextTests
{
    private const string Begin = "<!-- keys: begin -->\n";
    private const string End = "<!-- keys: end -->";

    [Fact]
    public void TheDefaultFileSaysWhatNoFileSays()
    {
        var loaded = ConfigSample.Read(ConfigText.Default());
        Assert.Empty(loaded.Faults);
        Assert.Equal(EdgeProxyKeys.ProxyEnable.Path, Assert.Single(loaded.Warnings).Path);
        foreach (var key in Shown())
        {
            Assert.True(loaded.Config!.IsSet(key), key.Path);
            Assert.Equal(key.DefaultText, loaded.Config.TextOf(key));
        }
    }

    [Fact]
    public void TheMinimalFileHandlesServicesWithoutAWarning()
    {
        var loaded = ConfigSample.Read(ConfigText.Minimal());
        Assert.Empty(loaded.Warnings);
        Assert.True(loaded.Options!.Proxy.Enable);
    }

    [Fact]
    public void EveryKeyOfOursHasAReason() =>
        Assert.Equal(
            [
                "kubeAPIConfig.manifests", "commonConfig.stateDir", "commonConfig.adminAddress", "commonConfig.adminSocket", "commonConfig.logLevel",
                "modules.edgeProxy.excludeServices", "modules.edgeProxy.addressKinds", "modules.edgeProxy.chainPrefix", "modules.edgeProxy.backend", "modules.edgeProxy.dataPath",
                "modules.edgeProxy.loadBalancer.policy", "modules.edgeProxy.masqueradeAll", "modules.edgeProxy.detectLocal", "modules.edgeProxy.clusterCIDR", "modules.edgeProxy.listenPort",
                "modules.edgeProxy.drainTimeout", "modules.edgeProxy.ruleLease", "modules.edgeProxy.limits.maxConnections", "modules.edgeProxy.limits.maxPendingDials",
                "modules.edgeProxy.limits.maxUdpFlows", "modules.edgeTunnel.identity", "modules.edgeTunnel.addressRanges",
                "modules.edgeDNS.clusterDomain", "modules.edgeDNS.upstreamServers", "modules.edgeDNS.stubDomains", "modules.edgeDNS.resolvConf",
                "modules.edgeDNS.listenAddresses", "modules.edgeDNS.allowedClients",
            ],
            ConfigSchema.Keys.Where(k => k.Reason is not null).Select(k => k.Path));

    /// <summary>Run with UPDATE_GOLDEN=1 to write the table into the document.</summary>
    [Fact]
    public void TheDocumentNamesEveryKeyWithItsDefault()
    {
        var path = Repository.PathOf("docs/configuration.md");
        var text = File.ReadAllText(path);
        var start = text.IndexOf(Begin, StringComparison.Ordinal) + Begin.Length;
        var end = text.IndexOf(End, StringComparison.Ordinal);
        if (Environment.GetEnvironmentVariable("UPDATE_GOLDEN") == "1")
        {
            text = text[..start] + Table() + text[end..];
            File.WriteAllText(path, text);
            end = text.IndexOf(End, StringComparison.Ordinal);
        }

        Assert.Equal(Table(), text[start..end]);
    }

    private static IEnumerable<ConfigKey> Shown() => ConfigSchema.Keys.Where(k => k.Status is KeyStatus.Active or KeyStatus.NotBuilt);

    private static string Table()
    {
        var table = new StringBuilder("| key | value | default | takes effect | what it is for |\n|---|---|---|---|---|\n");
        foreach (var key in Shown())
        {
            var effect = key.Status == KeyStatus.NotBuilt ? "not in this release" : key.Live ? "at once" : "after a restart";
            var doc = key.Reason is null ? key.Doc : $"{key.Doc} *Ours: {key.Reason}.*";
            table.Append("| `").Append(key.Path).Append("` | ").Append(key.TypeName.Replace("|", "\\|", StringComparison.Ordinal))
                .Append(" | `").Append(key.DefaultText).Append("` | ").Append(effect).Append(" | ").Append(doc).Append(" |\n");
        }

        return table.ToString();
    }
}
