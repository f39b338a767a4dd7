using System.Diagnostics;
using System.Globalization;
using System.Text.Json.Nodes;
using EdgeMesh.Testing.Lab;
using Xunit;

namespace EdgeMesh.HostTests.Lifecycle;

/// <summary>Where the objects of a churn are kept, and what this place suffers from besides.</summary>
internal sealed record ChurnSource
{
    public AgentConfig Config { get; init; } = new();

    public required Action<ManifestService> Write { get; init; }

    public required Action<ManifestService> Remove { get; init; }

    public required Func<Random, Task> DisturbAsync { get; init; }

    /// <summary>The longest time until a change is in the rules. A source that was disturbed several times in a row backs off
    /// for up to half a minute.</summary>
    public TimeSpan Patience { get; init; } = TimeSpan.FromSeconds(10);

    /// <summary>Undoes what a disturbance left.</summary>
    public Func<Task> RestoreAsync { get; init; } = () => Task.CompletedTask;
}

/// <summary>Changes of all kinds, one after the other, and the proof that nothing is left over after them.</summary>
internal sealed class Churn(HybridNode node, ManifestService[] services, ChurnSource source)
{
    private static readonly string[] _foreignJump = ["PREROUTING", "-m", "comment", "--comment", "of somebody", "-j", "KUBE-SERVICES"];

    // Always the same sequence, so that a failure can be repeated.
    private readonly Random _random = new(20_007);

    private bool _webIsLabelled;

    public static ManifestService[] Services() =>
        [.. Enumerable.Range(1, 20).Select(i => HybridNode.Web with { Name = $"many-{i}", ClusterIPs = [$"10.96.20.{i}"] })];

    public int Steps { get; private set; }

    public async Task RunAsync(TimeSpan period)
    {
        var watch = Stopwatch.StartNew();
        while (watch.Elapsed < period)
        {
            await StepAsync();
            Steps++;
        }
    }

    /// <summary>Brings every object back to how the test began.</summary>
    public async Task RestoreAsync()
    {
        ManifestService[] all = [HybridNode.Web, HybridNode.Dns, .. services];
        foreach (var service in all)
            source.Write(service);
        _webIsLabelled = false;
        await source.RestoreAsync();
        node.Lab.Configure(source.Config);
        await node.UntilFirstAsync(TimeSpan.FromSeconds(10));
        foreach (var service in services)
            await node.UntilRuleAsync($"demo/{service.Name}:http", stands: true, source.Patience);
        await node.UntilRuleAsync("demo/web:http", stands: true);
        await node.UntilRuleAsync("demo/dns:dns", stands: true);
        // A rule that stands may be that of the endpoints before, which a source that backs off still believes in.
        var written = Lines(all.Select(service => $"{service.Namespace}/{service.Name} {string.Join(' ', service.Endpoints.Select(ip => $"{ip}:{service.Ports[0].TargetPort}"))}"));
        await Eventually.SeesAsync(InForceAsync, seen => seen == written, source.Patience, $"in force is what was written:\n{written}");
    }

    /// <summary>Each handled service and its endpoints, as the agent says that they are in force.</summary>
    private async Task<string> InForceAsync() => Lines(JsonNode.Parse((await node.Agent.GetAsync("/status")).Body)!["services"]!.AsArray()
        .Where(service => (bool)service!["handled"]!)
        .Select(service => $"{service!["name"]} {string.Join(' ', service["ports"]![0]!["endpoints"]!.AsArray())}"));

    private static string Lines(IEnumerable<string> lines) => string.Join('\n', lines.Order(StringComparer.Ordinal));

    /// <summary>Churns with clients at work all the time, and compares the agent and the node with how they were.</summary>
    public async Task<string> LeavesNothingAsync(TimeSpan period)
    {
        // What is made once and kept (buffers, threads of the pool) is made in the first seconds.
        await RunAsync(TimeSpan.FromSeconds(10));
        await RestoreAsync();
        var before = node.Agent.Facts;
        var filterBefore = await Eventually.SeesAsync(node.Lab.PacketFilterAsync, filter => filter.Contains("demo/many-20:http", StringComparison.Ordinal), source.Patience);

        using var enough = new CancellationTokenSource();
        var clients = ((string[])["client", "node"]).Select(from => AskUntilAsync(node.Lab, from, enough.Token)).ToArray();
        await RunAsync(period - TimeSpan.FromSeconds(10));
        await enough.CancelAsync();
        var asked = (await Task.WhenAll(clients)).Sum();
        // Each question was a flow of its own, kept for a minute: giving the service back ends them all at once.
        source.Write(HybridNode.Dns.Labelled(true));
        await node.UntilRuleAsync("demo/dns:dns", stands: false, source.Patience);
        await RestoreAsync();

        var after = await Eventually.SeesAsync(
            () => node.Agent.Facts,
            facts => facts.Descriptors <= before.Descriptors + 16 && facts.Threads <= before.Threads + 4,
            TimeSpan.FromSeconds(15));
        await Eventually.SeesAsync(node.Lab.PacketFilterAsync, filter => filter == filterBefore, source.Patience);
        await Eventually.SeesAsync(EstablishedAsync, entries => entries == 0, TimeSpan.FromSeconds(15));
        Assert.False(node.Agent.Process.HasExited);
        Assert.InRange(after.ResidentBytes, 0, before.ResidentBytes + (40L << 20));
        return $"{Steps} changes, {asked} connections; before {before}; after {after}; {await node.RepairsAsync()} repairs";
    }

    private async Task<int> EstablishedAsync() =>
        (await node.Lab.RunAsync("node", "conntrack", "-L", "-p", "tcp", "--state", "ESTABLISHED", "-d", "10.96.10.1")).Output.Split('\n').Count(line => line.StartsWith("tcp", StringComparison.Ordinal));

    /// <summary>Every connection is answered, by way of the agent or of kube-proxy.</summary>
    private static async Task<int> AskUntilAsync(NamespaceLab lab, string from, CancellationToken enough)
    {
        var count = 0;
        using var pace = new ClientPace();
        for (; !enough.IsCancellationRequested; count++)
        {
            await pace.NextAsync();
            await lab.AskAsync(from, HybridNode.WebAddress, TimeSpan.FromSeconds(5));
            // An answer under way while the service is taken over is lost with its conntrack entry; a UDP client asks again.
            await Eventually.SeesAsync(
                () => lab.AskUdpAsync(from, "10.96.10.5:53", "WHO"u8.ToArray(), TimeSpan.FromSeconds(1)),
                answer => answer.Length > 0,
                TimeSpan.FromSeconds(5));
        }

        return count;
    }

    private async Task StepAsync()
    {
        var service = services[_random.Next(services.Length)];
        switch (_random.Next(10))
        {
            case 0:
                source.Write(service.Labelled(true));
                await node.UntilRuleAsync($"demo/{service.Name}:http", stands: false, source.Patience);
                break;
            case 1:
                source.Write(service.Labelled(false));
                await node.UntilRuleAsync($"demo/{service.Name}:http", stands: true, source.Patience);
                break;
            case 2:
                source.Remove(service);
                break;
            case 3:
                source.Write(service with { Endpoints = [.. Enumerable.Range(1, _random.Next(1, 40)).Select(i => string.Create(CultureInfo.InvariantCulture, $"10.244.3.{i}"))] });
                break;
            case 4:
                _webIsLabelled = false;
                source.Write(HybridNode.Web with { Endpoints = [_random.Next(2) == 0 ? "10.244.0.11" : "10.244.0.12"] });
                break;
            case 5:
                _webIsLabelled = _random.Next(2) == 0;
                source.Write(HybridNode.Web.Labelled(_webIsLabelled));
                break;
            case 6:
                source.Write(HybridNode.Dns.Labelled(_random.Next(2) == 0));
                break;
            case 7:
                // Not kube-proxy's own jump: while that is gone, nobody has the services that are left to it.
                await node.Lab.IptablesAsync(node.Variant, ["-t", "nat", "-I", .. _foreignJump]);
                await node.UntilFirstAsync(TimeSpan.FromSeconds(10));
                await node.Lab.IptablesAsync(node.Variant, ["-t", "nat", "-D", .. _foreignJump]);
                break;
            case 8:
                await source.DisturbAsync(_random);
                break;
            default:
                node.Lab.Configure(source.Config with { ServiceFilterMode = "FilterIfLabelDoesNotExists" });
                await node.UntilRuleAsync("demo/web:http", stands: _webIsLabelled, source.Patience);
                node.Lab.Configure(source.Config);
                break;
        }
    }
}
