using System.Collections.Concurrent;
using System.Collections.Immutable;
using System.Net.Sockets;
using EdgeMesh.Testing.Lab;
using Xunit;

namespace EdgeMesh.HostTests.Hosts;

/// <summary>Settings of the host are changed while requests run: within 10 s they take the way that is right now, none that is
/// made after that fails, and connections that the host can still carry go on.</summary>
public sealed class SwitchedHostTests(ITestOutputHelper output)
{
    private static readonly TimeSpan Followed = TimeSpan.FromSeconds(10);

    private static readonly Asking _near = Asking.All.Single(asking => asking.Name == "pod, of a pod");
    private static readonly Asking _far = Asking.All.Single(asking => asking.Name == "pod, of a pod elsewhere");

    [Theory]
    [InlineData(KubeProxyRules.IptablesNft)]
    [InlineData(KubeProxyRules.IptablesLegacy)]
    [InlineData(KubeProxyRules.Nftables)]
    public async Task ASwitchIsFollowedWhileRequestsRun(KubeProxyRules kubeProxy)
    {
        await using var lab = await NamespaceLab.CreateAsync(new LabOptions
        {
            KubeProxy = kubeProxy,
            KubeProxyServices = [_near.Known(byAgent: false), _far.Known(byAgent: false)],
            Host = LabHost.Bridge,
        });
        lab.Manifests.Write(_near.Known(byAgent: true));
        lab.Manifests.Write(_far.Known(byAgent: true));
        await lab.StartAgentAsync();
        await using var requests = Requests.Start(lab);
        using var near = await StandingConnection.OpenAsync(lab, _near);
        using var far = await StandingConnection.OpenAsync(lab, _far);
        await RightAsync(requests, "at first", near: (LabAddresses.Client, LabAddresses.Client6), far: (LabAddresses.Client, LabAddresses.Client6));

        Set(lab, "0", "bridge/bridge-nf-call-iptables", "bridge/bridge-nf-call-ip6tables");
        await RightAsync(requests, "bridge netfilter off", near: (LabAddresses.Gateway, LabAddresses.Gateway6), far: (LabAddresses.Client, LabAddresses.Client6));
        await far.SpeakAsync();
        using var masqueraded = await StandingConnection.OpenAsync(lab, _near);

        Set(lab, "1", "bridge/bridge-nf-call-iptables", "bridge/bridge-nf-call-ip6tables");
        await RightAsync(requests, "bridge netfilter on", near: (LabAddresses.Client, LabAddresses.Client6), far: (LabAddresses.Client, LabAddresses.Client6));
        await masqueraded.SpeakAsync();
        await far.SpeakAsync();
        await near.SpeakAsync();

        Set(lab, "0", "ipv4/ip_forward", "ipv6/conf/all/forwarding");
        await RightAsync(requests, "forwarding off", near: (LabAddresses.Gateway, LabAddresses.Gateway6), far: (LabAddresses.Node, LabAddresses.Node6));
        using var carried = await StandingConnection.OpenAsync(lab, _far);
        await carried.SpeakAsync();
        // What is on the kernel path waits, and is not cut.
        await far.AskAsync();

        Set(lab, "1", "ipv4/ip_forward", "ipv6/conf/all/forwarding");
        await RightAsync(requests, "forwarding on", near: (LabAddresses.Client, LabAddresses.Client6), far: (LabAddresses.Client, LabAddresses.Client6));
        await far.HearAsync();
        await carried.SpeakAsync();
        await masqueraded.SpeakAsync();
        await near.SpeakAsync();
    }

    private static void Set(NamespaceLab lab, string value, params ReadOnlySpan<string> keys)
    {
        foreach (var key in keys)
            lab.Node.SetSysctl(key, value);
    }

    private async Task RightAsync(Requests requests, string what, (string IPv4, string IPv6) near, (string IPv4, string IPv6) far)
    {
        var switched = TimeProvider.System.GetTimestamp();
        var expected = new Dictionary<string, string>
        {
            [Requests.Target(_near, ipv6: false)] = near.IPv4,
            [Requests.Target(_near, ipv6: true)] = near.IPv6,
            [Requests.Target(_far, ipv6: false)] = far.IPv4,
            [Requests.Target(_far, ipv6: true)] = far.IPv6,
        };
        // A loop that asks one after the other may still wait for one that was lost.
        await Eventually.HoldsAsync(
            () => expected.All(e => requests.Of(e.Key, since: switched).LastOrDefault()?.Seen == e.Value), Followed, $"{what}: every service is answered by the way that is right");
        var right = TimeProvider.System.GetTimestamp();
        await Eventually.HoldsAsync(() => expected.Keys.All(target => requests.Of(target, since: right).Length >= Requests.Enough), Followed, $"{what}: requests go on");
        foreach (var (target, seen) in expected)
            Assert.Empty(requests.Of(target, since: right).Where(request => request.Seen != seen).Select(request => $"{what}: {target}: {request.Seen}"));
        output.WriteLine($"{what}: right after {TimeProvider.System.GetElapsedTime(switched, right).TotalSeconds:0.00} s");
    }

    /// <summary>One loop for each service and family: one connection after the other, as long as the test lasts.</summary>
    private sealed class Requests : IAsyncDisposable
    {
        public const int Enough = 50;

        private static readonly TimeSpan _deadline = TimeSpan.FromSeconds(1);

        private readonly CancellationTokenSource _enough = new();
        private readonly ConcurrentQueue<Request> _made = new();
        private readonly Task _asking;

        private Requests(NamespaceLab lab) => _asking = Task.WhenAll(
            from asking in (Asking[])[_near, _far]
            from ipv6 in (bool[])[false, true]
            select AskAsync(lab, Target(asking, ipv6)));

        public static Requests Start(NamespaceLab lab) => new(lab);

        public static string Target(Asking asking, bool ipv6) => ipv6 ? $"[{asking.ClusterIP(true)}]:80" : $"{asking.ClusterIP(false)}:80";

        /// <summary>Those that began then or later, in order.</summary>
        public ImmutableArray<Request> Of(string target, long since) => [.. _made.Where(request => request.Target == target && request.Begun >= since)];

        public async ValueTask DisposeAsync()
        {
            await _enough.CancelAsync();
            await _asking;
            _enough.Dispose();
        }

        private async Task AskAsync(NamespaceLab lab, string target)
        {
            using var pace = new ClientPace();
            for (; !_enough.IsCancellationRequested; await pace.NextAsync())
            {
                var begun = TimeProvider.System.GetTimestamp();
                try
                {
                    var answer = await lab.AskAsync("client", target, _deadline);
                    _made.Enqueue(new Request(target, begun, answer.Port == HybridNode.ByAgent ? answer.Client : $"port {answer.Port}"));
                }
                catch (Exception e) when (e is IOException or SocketException or TimeoutException or OperationCanceledException)
                {
                    _made.Enqueue(new Request(target, begun, e.Message));
                }
            }
        }
    }

    /// <param name="Seen">Whom the pod saw as its client, or what went wrong.</param>
    private sealed record Request(string Target, long Begun, string Seen);

    private sealed class StandingConnection(Socket socket) : IDisposable
    {
        // One that waited takes up again when its next retransmission is due.
        private static readonly TimeSpan _patience = TimeSpan.FromSeconds(15);

        public static async Task<StandingConnection> OpenAsync(NamespaceLab lab, Asking asking)
        {
            var socket = await lab.ConnectAsync("client", Requests.Target(asking, ipv6: false));
            await socket.SendAsync("ECHO\n"u8.ToArray());
            var connection = new StandingConnection(socket);
            await connection.SpeakAsync();
            return connection;
        }

        public async Task SpeakAsync()
        {
            await AskAsync();
            await HearAsync();
        }

        public async Task AskAsync() => await socket.SendAsync("?"u8.ToArray());

        public async Task HearAsync()
        {
            using var timeout = new CancellationTokenSource(_patience);
            Assert.Equal(1, await socket.ReceiveAsync(new byte[1], timeout.Token));
        }

        public void Dispose() => socket.Dispose();
    }
}
