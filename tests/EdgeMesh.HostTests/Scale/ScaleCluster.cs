using System.Globalization;
using System.Net;
using System.Net.Sockets;
using System.Text.RegularExpressions;
using EdgeMesh.Testing.ApiServer;
using EdgeMesh.Testing.Lab;

namespace EdgeMesh.HostTests.Scale;

/// <summary>A node of a large cluster: an API server inside its namespace that lists thousands of services with 10 endpoints
/// each on 100 nodes, and the real agent that asks it.</summary>
internal sealed partial class ScaleCluster : IAsyncDisposable
{
    public const int Endpoints = 10;
    private const int Port = 16443;
    private const string AgentNode = "peer-node";
    private static readonly TimeSpan StartDeadline = TimeSpan.FromSeconds(60);

    private readonly TestApiServer _server;
    private readonly string _backend;
    private int _services;

    private ScaleCluster(NamespaceLab lab, TestApiServer server, string backend)
    {
        Lab = lab;
        _server = server;
        _backend = backend;
    }

    public NamespaceLab Lab { get; }

    public AgentProcess Agent { get; private set; } = null!;

    /// <summary>From the start of the last agent's process until <c>/readyz</c> said 200.</summary>
    public TimeSpan Ready { get; private set; }

    /// <summary>A service whose endpoints are real pods.</summary>
    public static IPEndPoint Probe { get; } = IPEndPoint.Parse("10.96.10.1:80");

    private string Cache => Path.Combine(Lab.StateFolder, "facts.json");

    /// <summary>What a start leaves to do is over when the facts have been written to the disk.</summary>
    public Task UntilSettledAsync() => Eventually.HoldsAsync(() => File.Exists(Cache), StartDeadline);

    public static async Task<ScaleCluster> CreateAsync(string backend)
    {
        var lab = await NamespaceLab.CreateAsync(new LabOptions { KubeProxy = KubeProxyRules.None });
        var server = await TestApiServer.StartAsync(new TestApiServerOptions
        {
            Port = Port,
            Bind = endpoint =>
            {
                var socket = lab.Node.NewSocket(AddressFamily.InterNetwork, SocketType.Stream);
                socket.Bind(endpoint);
                return socket;
            },
        });
        var cluster = new ScaleCluster(lab, server, backend);
        server.Put($$$"""{"apiVersion":"v1","kind":"Node","metadata":{"name":"{{{AgentNode}}}"}}""");
        server.Put(Service("probe", "10.96.10.1"));
        server.Put(Slice("probe", 8081, ["10.244.0.11", "10.244.0.12"], _ => "node-1"));
        return cluster;
    }

    /// <summary>Brings the cluster to so many services; fewer than before is not possible.</summary>
    public void Grow(int services)
    {
        for (; _services < services; _services++)
        {
            _server.Put(Service(Name(_services), Address(_services)));
            Change(_services, generation: 0);
        }
    }

    /// <summary>Gives a service other endpoints.</summary>
    /// <returns>The address of its first endpoint, which no other service or generation has.</returns>
    public string Change(int service, int generation, int endpoints = Endpoints)
    {
        var addresses = Enumerable.Range(0, endpoints).Select(i => EndpointAddress(service, i == 0 ? generation : 0, i)).ToArray();
        _server.Put(Slice(Name(service), 8080, addresses, i => $"node-{(service + i) % 100}"));
        return addresses[0];
    }

    public void Remove(int service)
    {
        _server.Delete("services", "scale", Name(service));
        _server.Delete("endpointslices", "scale", Name(service));
    }

    public void Restore(int service)
    {
        Change(service, generation: 0);
        _server.Put(Service(Name(service), Address(service)));
    }

    /// <summary>Starts an agent that has to list everything.</summary>
    /// <returns>From the start of the process until all rules stand.</returns>
    public async Task<TimeSpan> StartAgentAsync()
    {
        if (File.Exists(Cache))
            File.Delete(Cache);
        var watch = System.Diagnostics.Stopwatch.StartNew();
        Agent = await Lab.StartAgentAsync(new AgentOptions
        {
            NodeName = AgentNode,
            Manifests = false,
            ReadyDeadline = StartDeadline,
            Config = new AgentConfig { Backend = _backend, KubeApi = [$"master: http://127.0.0.1:{Port}"] },
        });
        Ready = watch.Elapsed;
        var started = System.Diagnostics.Process.GetProcessById(Agent.Id).StartTime;
        await Eventually.HoldsAsync(() => Agent.Log.Contains($"Rules are in force: {_services + 1} service ports", StringComparison.Ordinal), StartDeadline);
        return FirstSyncAt() - started;
    }

    /// <summary>For each sync that changed the kernel, how long it took, from the fact's arrival on.</summary>
    public IReadOnlyList<TimeSpan> Syncs() =>
        [.. InForce().Matches(Agent.Log).Select(m => TimeSpan.FromMilliseconds(double.Parse(m.Groups[1].ValueSpan, CultureInfo.InvariantCulture)))];

    public async Task<TimeSpan> UntilSyncedAsync(int syncsBefore)
    {
        var syncs = await Eventually.SeesAsync(Syncs, seen => seen.Count > syncsBefore, TimeSpan.FromSeconds(20));
        return syncs[^1];
    }

    /// <summary>Processor time of the agent and of the programs that it ran.</summary>
    public TimeSpan ProcessorTime() => Agent.Facts.ProcessorTime + Agent.Facts.ChildrenTime;

    /// <summary>The median time in which a new connection to the probe service stands: of several rounds the quickest, since
    /// whatever else the machine does can only add to it.</summary>
    public TimeSpan FirstPacket()
    {
        const int rounds = 8, connections = 400;
        var medians = new List<TimeSpan>();
        for (var round = 0; round < rounds; round++)
        {
            medians.Add(Lab.Client.Run(() =>
            {
                var times = new List<TimeSpan>(connections);
                for (var i = 0; i < connections; i++)
                {
                    using var socket = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
                    // Closed by a reset, so that thousands of connections leave nothing behind.
                    socket.LingerState = new LingerOption(enable: true, 0);
                    var start = System.Diagnostics.Stopwatch.GetTimestamp();
                    socket.Connect(Probe);
                    times.Add(System.Diagnostics.Stopwatch.GetElapsedTime(start));
                }

                times.Sort();
                return times[connections / 2];
            }));
        }

        return medians.Min();
    }

    public async ValueTask DisposeAsync()
    {
        await Lab.DisposeAsync();
        await _server.DisposeAsync();
    }

    private DateTime FirstSyncAt()
    {
        var line = Agent.Log.Split('\n').First(l => l.Contains("Rules are in force", StringComparison.Ordinal));
        var stamp = Stamp().Match(line);
        return stamp.Success
            ? DateTime.Parse(stamp.ValueSpan, CultureInfo.InvariantCulture)
            : throw new FormatException($"There is no time in the line: {line}");
    }

    private static string Name(int service) => $"s-{service:00000}";

    private static string Address(int service) => $"10.{100 + (service >> 16)}.{(service >> 8) & 255}.{service & 255}";

    // 12 bits of generation, 14 of service, 4 of place.
    private static string EndpointAddress(int service, int generation, int place)
    {
        var number = ((generation & 0x3F) << 18) | (service << 4) | place;
        return $"11.{(number >> 16) & 255}.{(number >> 8) & 255}.{number & 255}";
    }

    private static string Service(string name, string address) =>
        $$$"""{"apiVersion":"v1","kind":"Service","metadata":{"name":"{{{name}}}","namespace":"scale"},"spec":{"type":"ClusterIP","clusterIP":"{{{address}}}","clusterIPs":["{{{address}}}"],"ports":[{"name":"http","port":80,"targetPort":8080,"protocol":"TCP"}]}}""";

    private static string Slice(string name, int port, string[] addresses, Func<int, string> node) =>
        $$$"""{"apiVersion":"discovery.k8s.io/v1","kind":"EndpointSlice","metadata":{"name":"{{{name}}}","namespace":"scale","labels":{"kubernetes.io/service-name":"{{{name}}}"}},"addressType":"IPv4","ports":[{"name":"http","port":{{{port}}},"protocol":"TCP"}],"endpoints":[{{{string.Join(',', addresses.Select((a, i) => $"{{\"addresses\":[\"{a}\"],\"conditions\":{{\"ready\":true}},\"nodeName\":\"{node(i)}\"}}"))}}}]}""";

    [GeneratedRegex(@"Rules are in force.* in ([0-9.]+) ms", RegexOptions.None, matchTimeoutMilliseconds: 5000)]
    private static partial Regex InForce();

    [GeneratedRegex(@"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z?", RegexOptions.None, matchTimeoutMilliseconds: 1000)]
    private static partial Regex Stamp();
}
