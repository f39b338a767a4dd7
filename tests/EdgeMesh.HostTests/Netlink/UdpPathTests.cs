using System.Collections.Frozen;
using System.Collections.Immutable;
using System.Diagnostics;
using System.Net;
using System.Net.Sockets;
using System.Text;
using EdgeMesh.Balancing;
using EdgeMesh.Catalog;
using EdgeMesh.Forwarding;
using EdgeMesh.Forwarding.Udp;
using EdgeMesh.Linux;
using EdgeMesh.Linux.Netlink;
using EdgeMesh.Net;
using EdgeMesh.Testing.Lab;
using Microsoft.Extensions.Logging.Abstractions;
using Xunit;

namespace EdgeMesh.HostTests.Netlink;

/// <summary>UDP through real DNAT rules and the real conntrack.</summary>
public sealed class UdpPathTests
{
    private static readonly InetEndpoint _listener4 = InetEndpoint.Parse("169.254.96.16:20007");
    private static readonly InetEndpoint _listener6 = InetEndpoint.Parse("[fd0e:6d65:7368::10]:20007");
    private static readonly InetEndpoint _service4 = InetEndpoint.Parse("10.96.200.1:53");
    private static readonly InetEndpoint _service6 = InetEndpoint.Parse("[fd00:10:96::c801]:53");
    private static readonly InetEndpoint _other4 = InetEndpoint.Parse("10.96.200.2:53");

    [Theory]
    [InlineData("client", false, 65_507)]
    [InlineData("client", true, 65_487)]
    [InlineData("node", false, 65_507)]
    [InlineData("node", true, 65_487)]
    public async Task TheLargestDatagramPassesBothWaysFromPodAndFromHost(string from, bool ipv6, int size)
    {
        await using var lab = await LabAsync();
        await using var forwarder = Start(lab);
        var datagram = new byte[size];
        new Random(2).NextBytes(datagram);

        var answer = await lab.AskUdpAsync(from, (ipv6 ? _service6 : _service4).ToString(), datagram);

        Assert.Equal(datagram, answer);
        // Counted after it is sent: the answer may be here first.
        await Eventually.HoldsAsync(() => forwarder.Statistics().BytesToClients == size, TimeSpan.FromSeconds(5));
        Assert.Equal(1, forwarder.Statistics().FlowsOpened);
    }

    [Fact]
    [Trait(Ring.Name, Ring.Kernels)]
    public async Task OneClientPortThatTalksToTwoServicesGetsBothAnswers()
    {
        await using var lab = await LabAsync();
        await using var forwarder = Start(lab);
        using var client = lab.Client.NewSocket(AddressFamily.InterNetwork, SocketType.Dgram);
        client.Bind(new IPEndPoint(IPAddress.Parse(LabAddresses.Client), 40_000));
        for (var round = 0; round < 3; round++)
        {
            Assert.StartsWith("a ", await AskFromAsync(client, _service4), StringComparison.Ordinal);
            Assert.StartsWith("b ", await AskFromAsync(client, _other4), StringComparison.Ordinal);
        }

        // Two flows: conntrack gave the second one another source port at the listener.
        Assert.Equal(2, forwarder.Statistics().FlowsOpened);
    }

    [Fact]
    public async Task ADatagramToTheListenerItselfIsDroppedAndCounted()
    {
        await using var lab = await LabAsync();
        await using var forwarder = Start(lab);
        using var client = lab.Client.NewSocket(AddressFamily.InterNetwork, SocketType.Dgram);
        await client.SendToAsync("x"u8.ToArray(), Endpoint(_listener4));
        await Eventually.HoldsAsync(
            () => forwarder.Statistics().Dropped[(int)UdpDropReason.NotRedirected] == 1, TimeSpan.FromSeconds(5));
        Assert.Equal(0, forwarder.Statistics().FlowsOpened);
    }

    [Fact]
    public async Task FiveThousandFlowsAreBoundedAndLeaveNoDescriptor()
    {
        await using var lab = await LabAsync();
        var before = UdpSocketsOf(lab);
        await using (var forwarder = Start(lab, options => options with { MaxFlows = 1_000 }))
        {
            var watch = Stopwatch.StartNew();
            for (var i = 0; i < 5_000; i++)
            {
                using var client = lab.Client.NewSocket(AddressFamily.InterNetwork, SocketType.Dgram);
                // Ports of our own: the kernel's choice would come upon one that still has a flow.
                client.Bind(new IPEndPoint(IPAddress.Parse(LabAddresses.Client), 20_000 + i));
                await client.ConnectAsync(Endpoint(_service4));
                Assert.Equal(4, (await NamespaceLab.ExchangeAsync(client, [1, 2, 3, 4])).Length);
            }

            var statistics = forwarder.Statistics();
            TestContext.Current.TestOutputHelper?.WriteLine($"5,000 new flows, one datagram each way: {watch.Elapsed.TotalMicroseconds / 5_000:0} us each");
            Assert.Equal((5_000, 1_000), (statistics.FlowsOpened, statistics.FlowsActive));
            Assert.Equal(4_000, statistics.FlowsClosed[(int)UdpCloseReason.Evicted]);
            await SocketsAreAsync(before + 1_002);
        }

        await SocketsAreAsync(before);

        // A program that another test starts has a copy of every descriptor until it runs, and closes them one by one.
        Task SocketsAreAsync(int count) => Eventually.HoldsAsync(() => UdpSocketsOf(lab) == count, TimeSpan.FromSeconds(5), $"{count} UDP sockets");
    }

    [Fact]
    [Trait(Ring.Name, Ring.Kernels)]
    public async Task StaleEntriesAreDeletedAndOthersStay()
    {
        await using var lab = await LabAsync();
        await using var forwarder = Start(lab);
        foreach (var target in (InetEndpoint[])[_service4, _service6, _other4])
            await lab.AskUdpAsync("client", target.ToString(), [1]);
        // A TCP entry of the same address: it must survive.
        await lab.IptablesAsync(IptablesVariant.Nft, "-t", "nat", "-A", "PREROUTING", "-p", "tcp", "-d", "10.96.200.1", "--dport", "53", "-j", "DNAT", "--to-destination", "10.244.0.11:8080");
        using var connection = await lab.ConnectAsync("client", _service4.ToString());
        var cleaner = new ConntrackCleaner(NullLogger<ConntrackCleaner>.Instance);
        var serving = new Dictionary<InetEndpoint, IReadOnlySet<InetEndpoint>>
        {
            [_service4] = new HashSet<InetEndpoint>(),
            [_service6] = new HashSet<InetEndpoint>(),
            [_other4] = new HashSet<InetEndpoint> { _listener4 },
        };

        var result = lab.Node.Run(() => cleaner.DeleteUdp(
            (in ConntrackFlow flow) => serving.TryGetValue(flow.OriginalDestination, out var left) && !left.Contains(flow.ReplySource), CancellationToken.None));

        Assert.Equal((2, 2, 0), (result.Matched, result.Deleted, result.Failed));
        var table = (await lab.RunAsync("node", "conntrack", "-L")).Succeeded().Output;
        Assert.DoesNotContain(table.Split('\n'), line => line.StartsWith("udp", StringComparison.Ordinal) && line.Contains("dst=10.96.200.1 ", StringComparison.Ordinal));
        Assert.Contains(table.Split('\n'), line => line.StartsWith("udp", StringComparison.Ordinal) && line.Contains("dst=10.96.200.2 ", StringComparison.Ordinal));
        Assert.Contains(table.Split('\n'), line => line.StartsWith("tcp", StringComparison.Ordinal) && line.Contains("dst=10.96.200.1 ", StringComparison.Ordinal));
        var usage = lab.Node.Run(() => ConntrackUsage.Read());
        Assert.InRange(usage!.Value.Entries, 2, 100);
    }

    [Fact]
    public async Task ALargeTableIsCleanedInPassing()
    {
        const int count = 50_000;
        await using var lab = await ListenDeviceTests.BareLabAsync();
        var entries = new StringBuilder();
        for (var i = 0; i < count; i++)
        {
            var protocol = i % 2 == 0 ? "udp" : "tcp --state ESTABLISHED";
            entries.Append($"-I -p {protocol} -s 10.1.{i >> 8}.{i & 255} -d 10.96.0.{(i >> 1) & 1} --sport 1000 --dport 53 -r 10.9.9.9 -q 10.1.{i >> 8}.{i & 255} --reply-port-src 53 --reply-port-dst 1000 -t 600 -u SEEN_REPLY\n");
        }

        await File.WriteAllTextAsync(Path.Combine(lab.Folder, "entries"), entries.ToString());
        (await lab.RunAsync("node", "conntrack", "--load-file", Path.Combine(lab.Folder, "entries"))).Succeeded();
        var cleaner = new ConntrackCleaner(NullLogger<ConntrackCleaner>.Instance);
        var watch = Stopwatch.StartNew();

        var result = lab.Node.Run(() => cleaner.DeleteUdp(
            (in ConntrackFlow flow) => flow.OriginalDestination.Address == InetAddress.Parse("10.96.0.1"), CancellationToken.None));

        TestContext.Current.TestOutputHelper?.WriteLine($"{count} entries, {result.Deleted} deleted: {watch.ElapsedMilliseconds} ms");
        Assert.Equal(new ConntrackCleaning(count / 2, count / 4, count / 4, 0), result);
        Assert.InRange(watch.Elapsed.TotalSeconds, 0, 5);
    }

    private static async Task<NamespaceLab> LabAsync()
    {
        var lab = await NamespaceLab.CreateAsync(new LabOptions { KubeProxy = KubeProxyRules.None });
        lab.Node.Run(() => ListenDevice.Ensure("edgemesh0", [_listener4.Address, _listener6.Address]));
        foreach (var (iptables, services, listener) in new[] { ("iptables-nft", new[] { _service4, _other4 }, _listener4), ("ip6tables-nft", [_service6], _listener6) })
        {
            var rules = new StringBuilder("*nat\n");
            foreach (var hook in (string[])["PREROUTING", "OUTPUT"])
            {
                rules.Append($"-A {hook} -m mark --mark 0x1000/0x1000 -j RETURN\n");
                foreach (var service in services)
                    rules.Append($"-A {hook} -d {service.Address} -p udp -m udp --dport {service.Port} -j DNAT --to-destination {listener}\n");
            }

            (await lab.RunWithInputAsync("node", rules.Append("COMMIT\n").ToString(), $"{iptables}-restore", "--noflush", "-w", "5")).Succeeded();
        }

        return lab;
    }

    private static UdpForwarder Start(NamespaceLab lab, Func<UdpForwarderOptions, UdpForwarderOptions>? change = null)
    {
        var options = new UdpForwarderOptions { Listeners = [_listener4, _listener6] };
        var routes = new RouteTable(new Dictionary<TransportAddress, Route>
        {
            [new TransportAddress(_service4, TransportProtocol.Udp)] = To("echo", "10.244.0.11:5353"),
            [new TransportAddress(_service6, TransportProtocol.Udp)] = To("echo6", "[fd00:10:244::11]:5353"),
            [new TransportAddress(_other4, TransportProtocol.Udp)] = To("other", "10.244.0.12:5353"),
        }.ToFrozenDictionary());
        return lab.Node.Run(() => UdpForwarder.Start(
            change?.Invoke(options) ?? options, routes, TimeProvider.System, NullLogger<UdpForwarder>.Instance));
    }

    private static Route To(string name, string endpoint) => new()
    {
        Service = new ServicePortName("default", name, "dns", TransportProtocol.Udp),
        Endpoints = [new ServiceEndpoint(InetEndpoint.Parse(endpoint), Node: null, IsLocal: false)],
    };

    private static async Task<string> AskFromAsync(Socket client, InetEndpoint target)
    {
        using var timeout = new CancellationTokenSource(TimeSpan.FromSeconds(5).Here());
        await client.SendToAsync("WHO"u8.ToArray(), SocketFlags.None, Endpoint(target), timeout.Token);
        var buffer = new byte[512];
        var got = await client.ReceiveFromAsync(buffer, SocketFlags.None, new IPEndPoint(IPAddress.Any, 0), timeout.Token);
        Assert.Equal(Endpoint(target), got.RemoteEndPoint);
        return Encoding.ASCII.GetString(buffer, 0, got.ReceivedBytes);
    }

    private static IPEndPoint Endpoint(InetEndpoint endpoint) => new(endpoint.Address.ToIPAddress(), endpoint.Port);

    private static int UdpSocketsOf(NamespaceLab lab) => lab.Node.Run(() =>
        File.ReadLines("/proc/thread-self/net/udp").Count() + File.ReadLines("/proc/thread-self/net/udp6").Count());
}
