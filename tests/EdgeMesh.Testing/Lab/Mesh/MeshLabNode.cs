using System.Collections.Immutable;
using System.Net;
using System.Net.Sockets;
using System.Text.Json;

namespace EdgeMesh.Testing.Lab.Mesh;

/// <param name="Router">Null: it stands in the cloud.</param>
internal sealed record MeshLabNodePlan(string Name, string Address, string? Router, int Number)
{
    public string PodRole => $"pod-{Number}";

    public string Gateway => $"10.244.{Number}.1";

    public string PodAddress => $"10.244.{Number}.10";

    public string PodNetwork => $"10.244.{Number}.0/24";
}

/// <summary>One node of the lab: its agent, and the pod on it that asks and answers.</summary>
public sealed class MeshLabNode : IAsyncDisposable
{
    internal static readonly ImmutableArray<MeshLabNodePlan> All =
    [
        new("cloud", "198.51.100.1", null, 1), new("edge-1", "192.168.1.10", "nat-1", 2),
        new("edge-2", "192.168.2.10", "nat-2", 3), new("relay", "198.51.100.2", null, 4),
    ];

    private readonly MeshLab _lab;
    private readonly MeshLabNodePlan _plan;
    private readonly List<IAsyncDisposable> _servers = [];
    private AgentProcess? _agent;

    internal MeshLabNode(MeshLab lab, MeshLabNodePlan plan, string psk)
    {
        _lab = lab;
        _plan = plan;
        Directory.CreateDirectory(Folder);
        WritePsk(psk);
        var pod = IPAddress.Parse(PodAddress);
        _servers.Add(new PodServer(Pod, Name, IPAddress.Any, 8080));
        _servers.Add(new PodUdpServer(Pod, Name, pod, 5353));
    }

    public string Name => _plan.Name;

    /// <summary>Of the node itself.</summary>
    public string Address => _plan.Address;

    public string PodAddress => _plan.PodAddress;

    public NetworkNamespace Pod => _lab[_plan.PodRole];

    /// <summary>The role of its pod's namespace, for <see cref="MeshLab.RunAsync"/>.</summary>
    public string PodRole => _plan.PodRole;

    public AgentProcess Agent => _agent ?? throw new InvalidOperationException($"No agent runs on {Name}.");

    public string ConfigFile => Path.Combine(Folder, "edgemesh-agent.yaml");

    public string PskFile => Path.Combine(Folder, "psk");

    /// <summary>Further lines below <c>modules.edgeProxy</c>, without indentation; for the next <see cref="Configure"/>.</summary>
    public ImmutableArray<string> ProxyKeys { get; set; } = [];

    /// <summary>The same below <c>modules.edgeTunnel</c>.</summary>
    public ImmutableArray<string> TunnelKeys { get; set; } = [];

    private string Folder => Path.Combine(_lab.Folder, Name);

    public void WritePsk(string text)
    {
        ManifestFolder.Replace(PskFile, text + "\n");
        if (OperatingSystem.IsLinux())
            File.SetUnixFileMode(PskFile, UnixFileMode.UserRead | UnixFileMode.UserWrite);
    }

    /// <summary>Writes the configuration file; a running agent takes over the relays.</summary>
    public void Configure(params ReadOnlySpan<MeshLabNode> relays)
    {
        var listed = string.Join("", relays.ToArray().Select(relay => $"\n      - nodeName: {relay.Name}\n        advertiseAddress: [{relay.Address}]"));
        ManifestFolder.Replace(ConfigFile, new AgentConfig
        {
            EdgeProxy = ProxyKeys,
            Modules =
            [
                .. $"""
                edgeTunnel:
                  enable: true
                  psk:
                    path: {PskFile}
                  relayNodes:{(listed.Length == 0 ? " []" : listed)}
                """.Split('\n').Select(line => line.TrimEnd('\r')),
                .. TunnelKeys.Select(line => "  " + line),
            ],
        }.ToYaml(Path.Combine(Folder, "state")));
    }

    public async Task StartAsync()
    {
        _agent = Run();
        await _agent.UntilReadyAsync(TimeSpan.FromSeconds(60));
    }

    /// <summary>A new agent takes over from the one that runs; returns when that one has ended.</summary>
    public async Task TakeOverAsync()
    {
        await using var old = Agent;
        _agent = Run("--take-over");
        await old.Process.WaitForExitAsync(TimeSpan.FromSeconds(60));
        await _agent.UntilReadyAsync(TimeSpan.FromSeconds(10));
    }

    public async Task KillAsync()
    {
        await Agent.KillAsync();
        await Agent.DisposeAsync();
        _agent = null;
    }

    public async Task<int> StopAsync(TimeSpan deadline)
    {
        var status = await Agent.StopAsync(deadline);
        await Agent.DisposeAsync();
        _agent = null;
        return status;
    }

    /// <summary>Asks from its pod who serves an address.</summary>
    public async Task<Answer> AskAsync(string target, TimeSpan? deadline = null)
    {
        using var socket = await ConnectAsync(target, deadline);
        return await NamespaceLab.AskAsync(socket, "WHO", deadline);
    }

    /// <summary>Connects from its pod; the deadline is 10 s unless told.</summary>
    public async Task<Socket> ConnectAsync(string target, TimeSpan? deadline = null)
    {
        var socket = Pod.NewSocket(AddressFamily.InterNetwork, SocketType.Stream);
        try
        {
            using var timeout = new CancellationTokenSource((deadline ?? TimeSpan.FromSeconds(10)).Here());
            await socket.ConnectAsync(IPEndPoint.Parse(target), timeout.Token);
            return socket;
        }
        catch
        {
            socket.Dispose();
            throw;
        }
    }

    /// <summary>A UDP socket of its pod that talks to one address.</summary>
    public async Task<Socket> OpenDatagramsAsync(string target)
    {
        var socket = Pod.NewSocket(AddressFamily.InterNetwork, SocketType.Dgram);
        await socket.ConnectAsync(IPEndPoint.Parse(target));
        return socket;
    }

    /// <summary>The agent's status document.</summary>
    public async Task<JsonElement> StatusAsync()
    {
        var (_, body) = await Agent.GetAsync("/status");
        return JsonDocument.Parse(body).RootElement.Clone();
    }

    /// <summary>How this node reaches another: <c>direct</c>, <c>relayed via NAME</c> or <c>connecting</c>; empty: it knows no such node.</summary>
    public async Task<string> SessionToAsync(MeshLabNode other)
    {
        var status = await StatusAsync();
        foreach (var node in status.GetProperty("tunnel").GetProperty("nodes").EnumerateArray())
        {
            if (node.GetProperty("name").GetString() != other.Name)
                continue;
            var state = node.GetProperty("state").GetString()!;
            return state == "relayed" ? $"relayed via {node.GetProperty("relay").GetString()}" : state;
        }

        return "";
    }

    /// <summary>The path of a service's first port, and how its first endpoint is reached: <c>listener tunnel: …</c>.</summary>
    public async Task<string> WayOfAsync(string service)
    {
        var status = await StatusAsync();
        foreach (var each in status.GetProperty("services").EnumerateArray())
        {
            if (each.GetProperty("name").GetString() != $"demo/{service}")
                continue;
            var port = each.GetProperty("ports")[0];
            var way = port.GetProperty("ways")[0];
            return $"{port.GetProperty("path").GetString()} {way.GetProperty("way").GetString()}: {way.GetProperty("reason").GetString()}";
        }

        return "";
    }

    private AgentProcess Run(params string[] further) => new(
        _lab[Name],
        new LabProcess(
            _lab[Name].Name, NamespaceLab.AgentProgram,
            ["run", "--config-file", ConfigFile, "--manifests", _lab.Manifests.Path, "--node-name", Name, .. further], NamespaceLab.AgentEnvironment(Folder)));

    public async ValueTask DisposeAsync()
    {
        if (_agent is not null)
            await _agent.DisposeAsync();
        foreach (var server in _servers)
            await server.DisposeAsync();
    }
}
