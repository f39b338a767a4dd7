using System.Net;
using System.Net.Sockets;
using System.Runtime.CompilerServices;
using System.Text;
using EdgeMesh.Testing.Lab;

namespace EdgeMesh.HostTests.Nftables;

/// <summary>A node, a client pod behind it, and a pod that has the addresses of all endpoints, each in a network namespace.</summary>
public sealed class PortalNode : IAsyncDisposable
{
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(2);

    private static int lastNumber;

    private readonly string name = $"nftables-{Environment.ProcessId}-{Interlocked.Increment(ref lastNumber)}";
    private readonly Dictionary<string, NetworkNamespace> spaces = new(StringComparer.Ordinal);
    private readonly List<IAsyncDisposable> servers = [];

    public string Node => $"{name}-n";

    public NetworkNamespace NodeSpace => spaces[Node];

    public string Client => $"{name}-c";

    public string Endpoints => $"{name}-e";

    private static string Here([CallerFilePath] string path = "") => Path.GetDirectoryName(path)!;

    public static string Fixture(string file) => Path.Combine(Here(), "..", "..", "fixtures", "kube-proxy", file);

    /// <param name="wired">With client and endpoints; else only an empty namespace.</param>
    public static async Task<PortalNode> StartAsync(bool wired = true)
    {
        var node = new PortalNode();
        string[] names = wired ? [node.Node, node.Client, node.Endpoints] : [node.Node];
        await BatchAsync(null, [.. names.Select(space => $"netns add {space}")]);
        foreach (var space in names)
        {
            node.spaces.Add(space, new NetworkNamespace(space));
            node.spaces[space].SetSysctl("ipv6/conf/default/accept_dad", "0");
        }

        await (wired ? node.WireAsync() : BatchAsync(node.Node, ["link set lo up"]));
        return node;
    }

    /// <param name="command">In the words of a shell.</param>
    public async Task<string> OnNodeAsync(string command) =>
        (await CommandResult.RunAsync("sh", ["-e", "-c", command], inside: NodeSpace)).Succeeded().Output;

    /// <summary>What each of the connections was answered: the endpoint's address, or the error's name.</summary>
    public async Task<string[]> AskAsync(string from, string protocol, string address, int port, int count = 1, string? source = null)
    {
        var answers = new string[count];
        for (var i = 0; i < count; i++)
        {
            using var socket = spaces[from].NewSocket(IPAddress.Parse(address).AddressFamily, protocol == "udp" ? SocketType.Dgram : SocketType.Stream);
            if (source is not null)
                socket.Bind(new IPEndPoint(IPAddress.Parse(source), 0));
            try
            {
                using var enough = new CancellationTokenSource(Patience);
                await socket.ConnectAsync(IPAddress.Parse(address), port, enough.Token);
                answers[i] = AddressOf(protocol == "udp"
                    ? Answer.Parse(Encoding.ASCII.GetString(await NamespaceLab.ExchangeAsync(socket, "WHO"u8.ToArray(), Patience)))
                    : await NamespaceLab.AskAsync(socket, "WHO", Patience));
            }
            catch (SocketException e)
            {
                answers[i] = e.SocketErrorCode.ToString();
            }
            catch (OperationCanceledException)
            {
                answers[i] = "nobody";
            }
        }

        return answers;
    }

    /// <summary>A connection that stays open, and sends back what it is sent.</summary>
    public async Task<Socket> HoldAsync(string from, string address, int port)
    {
        var socket = spaces[from].NewSocket(AddressFamily.InterNetwork, SocketType.Stream);
        await socket.ConnectAsync(IPAddress.Parse(address), port);
        await socket.SendAsync("ECHO\n"u8.ToArray());
        return socket;
    }

    public async ValueTask DisposeAsync()
    {
        foreach (var server in servers)
            await server.DisposeAsync();
        foreach (var space in spaces.Values)
            space.Dispose();
        await CommandResult.RunAsync("ip", ["-force", "-batch", "-"], string.Concat(spaces.Keys.Select(space => $"netns delete {space}\n")));
    }

    private static string AddressOf(Answer answer) => IPEndPoint.Parse(answer.Endpoint).Address.ToString();

    private static async Task BatchAsync(string? space, string[] commands) =>
        (await CommandResult.RunAsync("ip", space is null ? ["-batch", "-"] : ["-n", space, "-batch", "-"], string.Join('\n', commands) + "\n")).Succeeded();

    private async Task WireAsync()
    {
        await BatchAsync(null,
        [
            $"link add cn netns {Client} type veth peer name nc netns {Node}",
            $"link add en netns {Endpoints} type veth peer name ne netns {Node}",
        ]);
        NodeSpace.SetSysctl("ipv4/ip_forward", "1");
        NodeSpace.SetSysctl("ipv6/conf/all/forwarding", "1");
        await BatchAsync(Node,
        [
            "link set lo up", "link add edgemesh0 type bridge", "link set edgemesh0 up",
            "addr add 169.254.96.16/32 dev edgemesh0", "addr add fd0e:6d65:7368::10/128 dev edgemesh0 nodad",
            "link set nc up", "addr add 10.245.0.1/24 dev nc", "addr add fd45::1/64 dev nc nodad",
            "link set ne up", "addr add 10.246.0.1/24 dev ne", "addr add fd46::1/64 dev ne nodad",
            "route add 10.244.0.0/16 via 10.246.0.2", "route add fd44::/64 via fd46::2", "route add 10.96.0.0/16 dev nc", "route add fd10::/64 dev nc",
        ]);
        await BatchAsync(Client,
        [
            "link set lo up", "link set cn up", "addr add 10.245.0.2/24 dev cn", "addr add fd45::2/64 dev cn nodad",
            "route add default via 10.245.0.1", "route add ::/0 via fd45::1",
        ]);
        string[] ipv4 = ["10.244.0.11", "10.244.0.12", "10.244.1.13", "10.244.0.51", "10.244.0.52", "10.244.9.1", "10.244.9.2"];
        string[] ipv6 = ["fd44::1", "fd44::2"];
        await BatchAsync(Endpoints,
        [
            "link set lo up", "link set en up", "addr add 10.246.0.2/24 dev en", "addr add fd46::2/64 dev en nodad",
            "route add default via 10.246.0.1", "route add ::/0 via fd46::1",
            .. ipv4.Select(address => $"addr add {address}/32 dev lo"), .. ipv6.Select(address => $"addr add {address}/128 dev lo nodad"),
        ]);
        foreach (var (address, port) in new[] { ("10.244.0.11", 8080), ("10.244.0.12", 8080), ("10.244.1.13", 8080), ("10.244.9.1", 80), ("10.244.9.2", 80), ("fd44::1", 80), ("fd44::2", 80) })
            Serve(Endpoints, address, port);
        foreach (var address in (string[])["10.244.9.1", "10.244.9.2", "fd44::1"])
            servers.Add(new PodUdpServer(spaces[Endpoints], "e", IPAddress.Parse(address), 53));
        Serve(Node, "169.254.96.16", 20007);
        Serve(Node, "fd0e:6d65:7368::10", 20007);
    }

    private void Serve(string where, string address, int port) => servers.Add(new PodServer(spaces[where], "e", IPAddress.Parse(address), port));
}
