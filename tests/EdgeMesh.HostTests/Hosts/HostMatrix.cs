using System.Collections.Concurrent;
using System.Collections.Immutable;
using System.Net;
using System.Net.Sockets;
using System.Text;
using System.Text.Json;
using EdgeMesh.Testing.Lab;

namespace EdgeMesh.HostTests.Hosts;

/// <summary>Where rules are, and the kube-proxy beside which they are there.</summary>
internal sealed record MatrixBackend(string Name, KubeProxyRules KubeProxy)
{
    public static ImmutableArray<MatrixBackend> All { get; } =
        [new("iptables-nft", KubeProxyRules.IptablesNft), new("iptables-legacy", KubeProxyRules.IptablesLegacy), new("nftables", KubeProxyRules.Nftables)];
}

/// <summary>One field of the matrix.</summary>
internal sealed record MatrixField(HostKind Kind, Asking Asking, MatrixBackend Backend, bool IPv6, bool Udp)
{
    public string Target => $"{(IPv6 ? $"[{Asking.ClusterIP(true)}]" : Asking.ClusterIP(false))}:{(Udp ? 53 : 80)}";

    public string Means => $"{Backend.Name}, {(IPv6 ? "IPv6" : "IPv4")}, {(Udp ? "UDP" : "TCP")}";

    public override string ToString() => $"{Kind.Name}: {Asking.Name} ({Means})";
}

/// <summary>What became of a field.</summary>
/// <param name="Way">kernel, agent or kube-proxy; refused; none where nobody answered.</param>
/// <param name="AsNode">The endpoint saw the node's address instead of the client's.</param>
internal readonly record struct MatrixResult(string Way, bool AsNode)
{
    public static MatrixResult None { get; } = new("none", false);

    /// <summary>By whom is not seen.</summary>
    public static MatrixResult Refused { get; } = new("refused", false);

    public bool Served => Way != "none";

    /// <summary>With a star where the client's address is not kept.</summary>
    public override string ToString() => Way + (AsNode ? "*" : "");
}

/// <summary>Asks everything of every kind of host: with kube-proxy's rules alone, then with the agent too.</summary>
internal sealed class HostMatrix
{
    // Two cores have enough to do with this many; most of a lab's time is spent waiting for what nobody answers.
    private const int LabsAtOnce = 4;

    // What nobody answers costs this long, once per lab. A SYN that was lost goes out again after a second.
    private static readonly TimeSpan _alone = TimeSpan.FromSeconds(2);
    private static readonly TimeSpan _together = TimeSpan.FromSeconds(5);
    private static readonly TimeSpan _again = TimeSpan.FromMilliseconds(500);

    private readonly ConcurrentDictionary<MatrixField, MatrixResult> _kubeProxyAlone = [];
    private readonly ConcurrentDictionary<MatrixField, MatrixResult> _withAgent = [];

    public static ImmutableArray<MatrixField> Fields { get; } =
    [
        .. from kind in HostKind.Chosen
        from asking in Asking.All
        from backend in MatrixBackend.All
        from ipv6 in (bool[])[false, true]
        from udp in (bool[])[false, true]
        select new MatrixField(kind, asking, backend, ipv6, udp),
    ];

    public MatrixResult KubeProxyAlone(MatrixField field) => _kubeProxyAlone[field];

    public MatrixResult WithAgent(MatrixField field) => _withAgent[field];

    public static async Task<HostMatrix> SeeAsync()
    {
        var matrix = new HostMatrix();
        await Parallel.ForEachAsync(
            Fields.GroupBy(field => (field.Kind, field.Backend)),
            new ParallelOptions { MaxDegreeOfParallelism = LabsAtOnce },
            async (fields, _) => await matrix.SeeAsync(fields.Key.Kind, fields.Key.Backend, [.. fields]));
        return matrix;
    }

    private async Task SeeAsync(HostKind kind, MatrixBackend backend, ImmutableArray<MatrixField> fields)
    {
        await using var lab = await NamespaceLab.CreateAsync(new LabOptions
        {
            KubeProxy = backend.KubeProxy,
            KubeProxyServices = [.. Asking.All.Select(asking => asking.Known(byAgent: false))],
            Host = kind.Host,
        });
        foreach (var (field, answer, without) in await AskAllAsync(lab, fields, _alone))
            _kubeProxyAlone[field] = answer is null ? without : new MatrixResult("kube-proxy", IsOfNode(field, answer.Client));

        foreach (var asking in Asking.All)
            lab.Manifests.Write(asking.Known(byAgent: true));
        await lab.StartAgentAsync();
        var answers = await AskAllAsync(lab, fields, _together);
        var carried = await CarriedByAgentAsync(lab);
        foreach (var (field, answer, without) in answers)
            _withAgent[field] = answer is null ? without : new MatrixResult(Way(field, answer, carried), IsOfNode(field, answer.Client));
    }

    private static string Way(MatrixField field, Answer answer, HashSet<(string, string)> carried) =>
        answer.Port is not (HybridNode.ByAgent or 5354) ? "kube-proxy"
        : carried.Contains((field.Target, field.Udp ? "udp" : "tcp")) ? "agent"
        : "kernel";

    private static bool IsOfNode(MatrixField field, string client) => field.Asking.From != "node" && !Addresses(field.Asking.From).Contains(client);

    private static ImmutableArray<string> Addresses(string role) => role switch
    {
        "client" => [LabAddresses.Client, LabAddresses.Client6],
        "a" => LabAddresses.PodA,
        _ => [LabAddresses.Lan, LabAddresses.Lan6],
    };

    /// <summary>Addresses and protocols of which the agent itself has carried a connection.</summary>
    private static async Task<HashSet<(string Address, string Protocol)>> CarriedByAgentAsync(NamespaceLab lab)
    {
        var text = (await lab.AgentCommandAsync("status", "--config-file", lab.ConfigFile, "-o", "json")).Succeeded().Output;
        using var status = JsonDocument.Parse(text);
        return
        [
            .. from service in status.RootElement.GetProperty("services").EnumerateArray()
            from port in service.GetProperty("ports").EnumerateArray()
            where port.GetProperty("totalConnections").GetInt64() > 0
            select (port.GetProperty("address").GetString()!, port.GetProperty("protocol").GetString()!.ToLowerInvariant()),
        ];
    }

    private static async Task<(MatrixField Field, Answer? Answer, MatrixResult Without)[]> AskAllAsync(NamespaceLab lab, ImmutableArray<MatrixField> fields, TimeSpan deadline) =>
        await Task.WhenAll(fields.Select(async field =>
        {
            using var enough = new CancellationTokenSource(deadline);
            try
            {
                return (field, (Answer?)await (field.Udp ? AskUdpAsync(lab, field, enough.Token) : AskTcpAsync(lab, field, deadline, enough.Token)), MatrixResult.None);
            }
            catch (Exception e) when (e is SocketException or OperationCanceledException or IOException)
            {
                // What the node itself sends and a rule rejects is not permitted, in the words of the kernel.
                var refused = field.Asking.Endpoints.Length == 0 && e is SocketException { SocketErrorCode: SocketError.ConnectionRefused or SocketError.AccessDenied };
                return (field, null, refused ? MatrixResult.Refused : MatrixResult.None);
            }
        }));

    private static async Task<Answer> AskTcpAsync(NamespaceLab lab, MatrixField field, TimeSpan deadline, CancellationToken enough)
    {
        using var socket = Socket(lab, field);
        await socket.ConnectAsync(IPEndPoint.Parse(field.Target), enough);
        return await NamespaceLab.AskAsync(socket, "WHO", deadline);
    }

    /// <summary>Asks again and again, as a resolver does.</summary>
    private static async Task<Answer> AskUdpAsync(NamespaceLab lab, MatrixField field, CancellationToken enough)
    {
        using var socket = Socket(lab, field);
        await socket.ConnectAsync(IPEndPoint.Parse(field.Target), enough);
        while (true)
        {
            enough.ThrowIfCancellationRequested();
            try
            {
                return Answer.Parse(Encoding.ASCII.GetString(await NamespaceLab.ExchangeAsync(socket, "WHO"u8.ToArray(), _again)));
            }
            catch (OperationCanceledException)
            {
                // No answer to this one.
            }
        }
    }

    private static Socket Socket(NamespaceLab lab, MatrixField field)
    {
        var socket = lab[field.Asking.From].NewSocket(field.IPv6 ? AddressFamily.InterNetworkV6 : AddressFamily.InterNetwork, field.Udp ? SocketType.Dgram : SocketType.Stream);
        if (field.Asking.Bound)
            socket.Bind(new IPEndPoint(IPAddress.Parse(field.IPv6 ? LabAddresses.Node6 : LabAddresses.Node), 0));
        return socket;
    }
}
