namespace EdgeMesh.Testing.Lab.Mesh;

/// <summary>Many nodes on one LAN, each of them a network namespace with a real agent and nothing else; the first is the relay of all.
/// A service has an endpoint on every node, so that each node keeps a session to every other one.</summary>
public sealed class WideLan : IAsyncDisposable
{
    private const string Psk = "q1Zt0mXw7Lr4Yc9Vb2Ns6Kd8Hf3Jg5Ta1Pe0Uo7Iz4w=";

    private readonly string _name = LabLeftovers.NewName();
    private readonly string _folder;
    private readonly ManifestFolder _manifests;
    private readonly List<NetworkNamespace> _spaces = [];
    private readonly List<AgentProcess> _agents = [];

    private WideLan()
    {
        _folder = Directory.CreateTempSubdirectory(_name + "-").FullName;
        _manifests = new ManifestFolder(Path.Combine(_folder, "manifests"));
    }

    public IReadOnlyList<AgentProcess> Agents => _agents;

    /// <summary>Starts them all; their sessions come afterwards.</summary>
    public static async Task<WideLan> StartAsync(int nodes)
    {
        await LabRequirements.CheckAsync();
        await LabLeftovers.RemoveAsync();
        var lan = new WideLan();
        try
        {
            await lan.BuildAsync(nodes);
            return lan;
        }
        catch
        {
            await lan.DisposeAsync();
            throw;
        }
    }

    public async ValueTask DisposeAsync()
    {
        await Task.WhenAll(_agents.Select(agent => agent.DisposeAsync().AsTask()));
        foreach (var space in _spaces)
            space.Dispose();
        await LabLeftovers.RemoveNamespacesAsync(_spaces);
        Directory.Delete(_folder, recursive: true);
    }

    private async Task BuildAsync(int nodes)
    {
        var numbers = Enumerable.Range(0, nodes).ToArray();
        await IpBatch.RunAsync(null, [$"netns add {Space("lan")}", .. numbers.Select(i => $"netns add {Space(Name(i))}")]);
        _spaces.Add(new NetworkNamespace(Space("lan")));
        _spaces.AddRange(numbers.Select(i => new NetworkNamespace(Space(Name(i)))));
        var batch = new IpBatch(Space);
        batch.In("lan", "link add lan0 type bridge", "link set lan0 up");
        foreach (var i in numbers)
        {
            batch.Wire("lan", $"to-{i}", Name(i), "eth0");
            batch.In("lan", $"link set to-{i} master lan0 up");
            batch.In(Name(i), "link set lo up", "link set eth0 up", $"addr add {Address(i)}/16 dev eth0");
        }

        await batch.RunAsync();
        _manifests.Write(new ManifestService
        {
            Name = "everywhere",
            ClusterIPs = ["10.96.0.10"],
            Ports = [new ManifestPort("main", 80, 8080)],
            Endpoints = [.. numbers.Select(PodAddress)],
            Nodes = System.Collections.Immutable.ImmutableDictionary.CreateRange(numbers.Select(i => KeyValuePair.Create(PodAddress(i), Name(i)))),
        });
        var psk = Path.Combine(_folder, "psk");
        ManifestFolder.Replace(psk, Psk + "\n");
        if (OperatingSystem.IsLinux())
            File.SetUnixFileMode(psk, UnixFileMode.UserRead | UnixFileMode.UserWrite);
        foreach (var i in numbers)
            _agents.Add(Start(i, psk));
        await Task.WhenAll(_agents.Select(agent => agent.UntilReadyAsync(TimeSpan.FromSeconds(60))));
    }

    private AgentProcess Start(int i, string psk)
    {
        var config = Path.Combine(_folder, $"{Name(i)}.yaml");
        ManifestFolder.Replace(config, new AgentConfig
        {
            Backend = "nftables",
            Modules =
            [
                "edgeTunnel:", "  enable: true", "  psk:", $"    path: {psk}",
                "  relayNodes:", $"  - nodeName: {Name(0)}", $"    advertiseAddress: [{Address(0)}]",
            ],
        }.ToYaml(Path.Combine(_folder, Name(i))));
        var space = _spaces[i + 1];
        return new AgentProcess(space, new LabProcess(
            space.Name, NamespaceLab.AgentProgram, ["run", "--config-file", config, "--manifests", _manifests.Path, "--node-name", Name(i)], NamespaceLab.AgentEnvironment(_folder)));
    }

    private string Space(string role) => $"{_name}-{role}";

    private static string Name(int i) => $"n{i}";

    private static string Address(int i) => $"192.168.{i / 200}.{1 + (i % 200)}";

    private static string PodAddress(int i) => $"10.244.{i}.10";
}
