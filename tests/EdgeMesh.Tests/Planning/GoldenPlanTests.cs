using System.Collections.Immutable;
using System.Net;
using System.Text.Json.Nodes;
using EdgeMesh.Catalog;
using EdgeMesh.Kubernetes.Api;
using EdgeMesh.Net;
using EdgeMesh.Netfilter;
using EdgeMesh.Netfilter.Iptables;
using EdgeMesh.Netfilter.Nftables;
using EdgeMesh.Planning;
using EdgeMesh.Testing.Cluster;
using EdgeMesh.Testing.Portals;
using Xunit;

namespace EdgeMesh.Tests.Planning;

/// <summary>golden/CASE: objects.yaml (or another file that options.yaml names), options.yaml where the case needs it, and
/// what they must come to: plan.txt, and the rules of both backends. EDGEMESH_WRITE_GOLDEN=1 writes those anew; read the difference before keeping it.</summary>
public sealed class GoldenPlanTests
{
    public static TheoryData<string> Cases
    {
        get
        {
            var cases = new TheoryData<string>();
            foreach (var folder in Directory.GetDirectories(Folder).Order(StringComparer.Ordinal))
            {
                if (File.Exists(Path.Combine(folder, "plan.txt")) || Writing)
                    cases.Add(Path.GetFileName(folder));
            }

            return cases;
        }
    }

    private static string Folder { get; } = FindFolder();

    private static bool Writing => Environment.GetEnvironmentVariable("EDGEMESH_WRITE_GOLDEN") == "1";

    [Theory]
    [MemberData(nameof(Cases))]
    public async Task ObjectsComeToThisPlan(string name)
    {
        var folder = Path.Combine(Folder, name);
        var options = new JsonObject();
        var optionsFile = Path.Combine(folder, "options.yaml");
        if (File.Exists(optionsFile))
            options = YamlObjects.Documents(await File.ReadAllTextAsync(optionsFile)).Single();

        var objects = (string?)options["objects"] ?? "objects.yaml";
        var facts = YamlObjects.Facts(await File.ReadAllTextAsync(Path.Combine(folder, objects)));
        if ((bool?)options["withoutNode"] == true)
            facts = facts with { NodeLabels = facts.NodeLabels.Clear() };
        var catalog = new CatalogBuilder().Build(facts, Policy(options));
        var plan = new ForwardingPlanner().Plan(catalog, Options(options));

        await CompareAsync(folder, "plan.txt", PlanText.Of(plan));
        var kernel = new FakeIptables();
        var iptables = await new IptablesChoice(kernel, TimeProvider.System).CreateAsync(ChainPrefix.EdgeMesh, IptablesVariant.Nft, CancellationToken.None);
        await iptables.SyncAsync(plan.Portals, CancellationToken.None);
        await CompareAsync(folder, "iptables.rules", await SavedAsync(kernel, "iptables-nft-save"));
        await CompareAsync(folder, "ip6tables.rules", await SavedAsync(kernel, "ip6tables-nft-save"));
        var nft = new FakeNft();
        await new NftablesBackend(nft, [IpFamily.IPv4, IpFamily.IPv6], TimeProvider.System).SyncAsync(plan.Portals, CancellationToken.None);
        await CompareAsync(folder, "nftables.nft", string.Join('\n', nft.Applied));
    }

    private static async Task<string> SavedAsync(FakeIptables kernel, string command)
    {
        var saved = await kernel.RunAsync(command, ["-t", "nat"], input: null, TimeSpan.FromSeconds(1), CancellationToken.None);
        return string.Join('\n', saved.Output.Split('\n').Where(line => !line.StartsWith('#')));
    }

    private static async Task CompareAsync(string folder, string file, string text)
    {
        var golden = Path.Combine(folder, file);
        if (Writing)
            await File.WriteAllTextAsync(golden, text);
        Assert.Equal(await File.ReadAllTextAsync(golden), text);
    }

    [Fact]
    public void TheCasesAreThere() => Assert.True(Cases.Count >= 15, $"{Folder} has {Cases.Count} cases");

    private static CatalogPolicy Policy(JsonObject options) => new()
    {
        NodeName = (string?)options["node"] ?? "me",
        FilterMode = Enum.Parse<ServiceFilterMode>((string?)options["filterMode"] ?? "FilterIfLabelExists"),
        ExcludedServices =
        [
            .. Texts(options, "exclude").Select(name => new ObjectName(name.Split('/')[0], name.Split('/')[1])),
        ],
    };

    private static PlanningOptions Options(JsonObject options)
    {
        var families = Texts(options, "families", "IPv4", "IPv6").Select(Enum.Parse<IpFamily>);
        return new PlanningOptions
        {
            DataPath = Enum.Parse<DataPath>((string?)options["dataPath"] ?? "Auto"),
            KernelChoices = [.. Texts(options, "kernelChoices", "RoundRobin", "Random", "ClientAffinity").Select(Enum.Parse<BackendChoice>)],
            Listeners = families.ToImmutableSortedDictionary(
                family => family,
                family => InetEndpoint.Parse(family == IpFamily.IPv4 ? "169.254.96.16:20007" : "[fd0e:6d65:7368::10]:20007")),
        };
    }

    private static IEnumerable<string> Texts(JsonObject options, string key, params string[] otherwise) =>
        options[key] is JsonArray given ? given.Select(text => (string)text!) : otherwise;

    private static string FindFolder()
    {
        var folder = new DirectoryInfo(AppContext.BaseDirectory);
        while (folder is not null && !File.Exists(Path.Combine(folder.FullName, "EdgeMesh.slnx")))
            folder = folder.Parent;
        return Path.Combine(folder?.FullName ?? AppContext.BaseDirectory, "tests", "EdgeMesh.Tests", "golden");
    }
}
