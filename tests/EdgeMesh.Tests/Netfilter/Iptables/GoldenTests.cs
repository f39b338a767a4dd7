using System.Collections.Immutable;
using System.Net;
using System.Net.Sockets;
using EdgeMesh.Net;
using EdgeMesh.Netfilter;
using EdgeMesh.Netfilter.Iptables;
using Xunit;

namespace EdgeMesh.Tests.Netfilter.Iptables;

/// <summary>Portals in, rules out. With EDGEMESH_WRITE_GOLDEN=1 the rules are written instead of compared; read the difference before committing it.</summary>
public sealed class GoldenTests
{
    [Theory]
    [InlineData("every-choice")]
    [InlineData("masquerade-all")]
    [InlineData("listeners-only")]
    [InlineData("host")]
    public async Task PortalsBecomeTheseRules(string golden)
    {
        var folder = Folder(golden);
        var lines = (await File.ReadAllLinesAsync(Path.Combine(folder, "portals.txt"), Cancel)).Where(l => !l.StartsWith('#')).ToList();
        var kernel = new FakeIptables();
        var portals = await new IptablesChoice(kernel, TimeProvider.System).CreateAsync(ChainPrefix.EdgeMesh, IptablesVariant.Nft, Cancel);
        await portals.SyncAsync([Parse(lines, IpFamily.IPv4), Parse(lines, IpFamily.IPv6)], Cancel);
        foreach (var table in (string[])(lines.Exists(l => l.StartsWith("invalid ", StringComparison.Ordinal)) ? ["nat", "filter"] : ["nat"]))
        {
            await CompareAsync(kernel, "iptables", table, folder);
            await CompareAsync(kernel, "ip6tables", table, folder);
        }
    }

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    private static async Task CompareAsync(FakeIptables kernel, string command, string table, string folder)
    {
        var saved = await kernel.RunAsync(command + "-nft-save", ["-t", table], input: null, TimeSpan.FromSeconds(1), Cancel);
        var rules = string.Join('\n', saved.Output.Split('\n').Where(l => !l.StartsWith('#')));
        var file = Path.Combine(folder, table == "nat" ? command + ".rules" : $"{command}-{table}.rules");
        if (Environment.GetEnvironmentVariable("EDGEMESH_WRITE_GOLDEN") == "1")
            await File.WriteAllTextAsync(file, rules, Cancel);
        Assert.Equal(await File.ReadAllTextAsync(file, Cancel), rules);
    }

    private static FamilyPortals Parse(List<string> lines, IpFamily family) => new()
    {
        Family = family,
        Listener = InetEndpoint.Parse(family == IpFamily.IPv4 ? "169.254.96.16:20007" : "[fd0e:6d65:7368::10]:20007"),
        Masquerade = lines.Contains("masquerade-all") ? MasqueradePolicy.Everything
            : Networks(lines, "local", family) is { IsEmpty: false } local ? MasqueradePolicy.Except(local, [.. Networks(lines, "inside", family).Select(network => (network, network))])
            : MasqueradePolicy.HairpinOnly,
        Invalid = Networks(lines, "invalid", family) is { IsEmpty: false } endpoints ? new InvalidGuard(endpoints, Networks(lines, "services", family)) : null,
        AcceptForwarded = lines.Contains("accept-forwarded"),
        AcceptListener = lines.Contains("accept-listener"),
        Rules =
        [
            .. lines.Select(l => l.Split(' ')).Where(w => w.Length >= 5 && Enum.TryParse<TransportProtocol>(w[0], ignoreCase: true, out _)).Select(Portal)
                .Select(p => p with { Target = p.Target is PortalTarget.Backends backends ? backends with { ThroughListener = [.. backends.Endpoints.Select(e => e.Address).Where(Through(lines).Contains)] } : p.Target })
                .Where(p => p.Key.Family == family),
        ],
    };

    private static PortalRule Portal(string[] words) => new()
    {
        Key = new TransportAddress(InetAddress.Parse(words[1]), ushort.Parse(words[2]), Enum.Parse<TransportProtocol>(words[0], ignoreCase: true)),
        Comment = words[3],
        Target = words[4] switch
        {
            "listener" => PortalTarget.Listener.Instance,
            "refused" => PortalTarget.Refused.Instance,
            var choice => new PortalTarget.Backends { Choice = Enum.Parse<BackendChoice>(choice), Endpoints = [.. words[5..].Select(InetEndpoint.Parse)] },
        },
    };

    /// <summary>What a line such as <c>local 10.244.0.0/24 fd00:244::/64</c> names of one family.</summary>
    private static ImmutableArray<IPNetwork> Networks(List<string> lines, string word, IpFamily family) =>
    [
        .. Words(lines, word).Select(IPNetwork.Parse).Where(n => (n.BaseAddress.AddressFamily == AddressFamily.InterNetwork) == (family == IpFamily.IPv4)),
    ];

    private static HashSet<InetAddress> Through(List<string> lines) => [.. Words(lines, "through").Select(InetAddress.Parse)];

    private static string[] Words(List<string> lines, string word) => lines.Find(l => l.StartsWith(word + " ", StringComparison.Ordinal))?.Split(' ')[1..] ?? [];

    private static string Folder(string golden)
    {
        var folder = new DirectoryInfo(AppContext.BaseDirectory);
        while (folder is not null && !File.Exists(Path.Combine(folder.FullName, "EdgeMesh.slnx")))
            folder = folder.Parent;
        return Path.Combine(folder!.FullName, "tests", "EdgeMesh.Tests", "Netfilter", "Iptables", "golden", golden);
    }
}
