using System.Collections.Immutable;
using System.Net;
using System.Security.Cryptography;
using EdgeMesh.Dns.Messages;
using EdgeMesh.LibP2P.Addresses;
using EdgeMesh.Linux.Datagrams;
using EdgeMesh.Linux.Netlink;
using EdgeMesh.Net;
using EdgeMesh.Tunnel.Sessions;
using Microsoft.Extensions.Logging;

namespace EdgeMesh.Tunnel.Discovery;

/// <summary>
/// Nodes on the same LAN find each other as libp2p's mDNS specification says: a question for `_p2p._udp.local` to
/// 224.0.0.251:5353, answers with a TXT string `dnsaddr=` and an address for each address. What is announced is a claim: it is
/// dialled, and the handshake decides. Anybody on the LAN can send any number of answers in anybody's name, so what they have this
/// node do is bounded, and a true answer gets its turn among them.
/// </summary>
internal sealed partial class MulticastDiscovery
{
    internal const string Service = "_p2p._udp.local";

    private const string AddressText = "dnsaddr=";
    private const int MaxAddresses = 8;

    /// <summary>Read in one turn. What the kernel's buffer does not hold until the next turn is dropped there, whoever sent it: a node
    /// asks and answers more than once.</summary>
    private const int MaxDatagrams = 256;
    private const int AtOnce = 16;

    /// <summary>Sources of answers about peers without a name, in a minute; and such peers of one source.</summary>
    private const int MaxStrangers = 256;
    private const int MaxStrangersOfOne = 2;

    private static readonly InetEndpoint Group = InetEndpoint.Parse("224.0.0.251:5353");
    private static readonly byte[] ServiceName = WireName.FromText(Service)!;
    private static readonly TimeSpan FirstQuestion = TimeSpan.FromSeconds(1);
    private static readonly TimeSpan LongestPause = TimeSpan.FromSeconds(60);
    private static readonly TimeSpan BetweenAnswers = TimeSpan.FromMilliseconds(500);
    private static readonly TimeSpan StrangersAgain = TimeSpan.FromMinutes(1);

    /// <summary>Between two turns: the first after one that found something, and twice as long after each that found nothing.</summary>
    private static readonly TimeSpan ShortestTurn = TimeSpan.FromMilliseconds(25);
    private static readonly TimeSpan LongestTurn = TimeSpan.FromMilliseconds(500);

    private readonly MeshContext _mesh;
    private readonly Func<string, PeerLink?> _linkOf;
    private readonly HelloExchange _hello;
    private readonly string _name = $"{Convert.ToHexStringLower(RandomNumberGenerator.GetBytes(16))}.{Service}";
    private readonly Lock _gate = new();
    private readonly Dictionary<InetAddress, (long Since, int Count)> _strangers = [];
    private long _strangersSwept;

    internal MulticastDiscovery(MeshContext mesh, Func<string, PeerLink?> linkOf, HelloExchange hello)
    {
        _mesh = mesh;
        _linkOf = linkOf;
        _hello = hello;
    }

    /// <summary>Asks and answers on one address of this node until the node stops. Without multicast there it gives up, once
    /// and with a word.</summary>
    /// <remarks>It looks at the socket from time to time, and is not woken by what arrives: 10,000 datagrams a second are 40 turns.</remarks>
    internal async Task RunAsync(InetAddress local)
    {
        var lan = new Neighbours(local, NodeAddresses.List(), _mesh.Options.AllowLoopback);
        DatagramSocket socket;
        try
        {
            socket = DatagramSocket.JoinGroup(Group, local, _mesh.Options.DialMark);
        }
        catch (IOException e)
        {
            LogNoMulticast(_mesh.Logger, local, e.Message);
            return;
        }

        using (socket)
        using (var batch = new DatagramBatch(AtOnce))
        {
            var question = new DnsMessage { Questions = [Service] }.Encode();
            var (askedAt, untilAsked, answeredAt) = (0L, TimeSpan.Zero, 0L);
            var turn = ShortestTurn;
            do
            {
                if (askedAt == 0 || _mesh.Time.GetElapsedTime(askedAt) >= untilAsked)
                {
                    askedAt = _mesh.Time.GetTimestamp();
                    untilAsked = untilAsked == TimeSpan.Zero ? FirstQuestion : Least(untilAsked * 2, LongestPause / 2);
                    Send(socket, batch, question);
                }

                var count = Read(socket, batch, lan, out var isAsked);
                if (isAsked && (answeredAt == 0 || _mesh.Time.GetElapsedTime(answeredAt) > BetweenAnswers))
                {
                    answeredAt = _mesh.Time.GetTimestamp();
                    Send(socket, batch, Answer(local));
                }

                turn = count > 0 ? ShortestTurn : Least(turn * 2, LongestTurn);
            }
            while (await _mesh.WaitAsync(turn));
        }
    }

    private static TimeSpan Least(TimeSpan one, TimeSpan other) => one < other ? one : other;

    /// <returns>How many datagrams there were, at most so many as are read in one turn.</returns>
    private int Read(DatagramSocket socket, DatagramBatch batch, Neighbours lan, out bool isAsked)
    {
        isAsked = false;
        var read = 0;
        while (read < MaxDatagrams)
        {
            var count = batch.Receive(socket, withSenders: true);
            // The device may be gone for a while.
            if (count < 0 && count != -DatagramErrors.WouldBlock)
                LogFailed(_mesh.Logger, Group, DatagramErrors.Describe(-count));
            for (var i = 0; i < count; i++)
            {
                var source = batch.Sender(i).Address;
                if (!lan.Has(source) || !DnsMessageReader.TryOpen(batch.Received(i), ServiceName, out var message))
                    continue;
                if (message.IsResponse)
                    Take(ref message, source);
                else
                    isAsked |= message.IsAsked;
            }

            read += Math.Max(0, count);
            if (count < AtOnce)
                break;
        }

        return read;
    }

    private void Send(DatagramSocket socket, DatagramBatch batch, byte[] message)
    {
        batch.Put(0, message, Group);
        if (batch.SendEach(socket, 0, 1) is < 0 and var failure)
            LogFailed(_mesh.Logger, Group, DatagramErrors.Describe(-failure));
    }

    private byte[] Answer(InetAddress local)
    {
        var addresses = HelloExchange.OwnAddresses(_mesh).AsEnumerable();
        // A wildcard listener is reached at the address of this LAN.
        if (_mesh.Host.ListenAddresses.FirstOrDefault(a => a.TryGetTcpEndPoint(out var e) && e.Address.Equals(IPAddress.Any)) is { } any && any.TryGetTcpEndPoint(out var endPoint))
            addresses = addresses.Append(Multiaddr.FromEndPoint(new IPEndPoint(local.ToIPAddress(), endPoint.Port)));
        return new DnsMessage
        {
            IsResponse = true,
            Pointers = [(Service, _name)],
            Texts = [.. addresses.Distinct().OrderByDescending(a => a.TryGetTcpEndPoint(out var e) && InetAddress.From(e.Address) == local).Take(MaxAddresses).Select(a => (_name, $"{AddressText}{a}/p2p/{_mesh.Host.PeerId}"))],
        }.Encode();
    }

    /// <summary>A node answers for itself: addresses other than the answer's own source are passed over, so that nobody on the LAN
    /// has this node dial whatever he likes. Nothing is allocated for what is passed over or known.</summary>
    private void Take(ref DnsMessageReader message, InetAddress from)
    {
        Span<byte> multihash = stackalloc byte[PeerId.MaxBytes];
        var taken = 0;
        while (taken < MaxAddresses && message.TryNextText(out var text))
        {
            if (!DiscoveredText.TryRead(text, multihash, out var endPoint, out var length) || !IsFrom(endPoint.Address, from)
                || !AnnouncedAddress.IsDialable(endPoint, _mesh.Options) || multihash[..length].SequenceEqual(_mesh.Host.PeerId.Multihash))
            {
                continue;
            }

            taken++;
            if (_mesh.Directory.NameOf(multihash[..length]) is { } name)
                _linkOf(name)?.Discovered(endPoint);
            else if (IsNewStranger(from) && PeerId.TryFromMultihash(multihash[..length], out var peer))
                Meet(peer, endPoint);
        }
    }

    /// <summary>A method of its own: what a lambda captures is allocated where it is declared, which would be for each that is passed over.</summary>
    private void Meet(PeerId peer, InetEndpoint endPoint) => _mesh.Supervisor.Start("discovery-meet", () => MeetAsync(peer, endPoint));

    private bool IsFrom(InetAddress announced, InetAddress source) =>
        announced == source || (_mesh.Options.AllowLoopback && AnnouncedAddress.IsLoopback(announced) && AnnouncedAddress.IsLoopback(source));

    /// <summary>Of each source so many are met in a minute, of all so many, and all of them within the allowance of dials.</summary>
    private bool IsNewStranger(InetAddress from)
    {
        var now = _mesh.Time.GetTimestamp();
        lock (_gate)
        {
            if (!_strangers.TryGetValue(from, out var met) && _strangers.Count >= MaxStrangers && !TryForgetStrangers(now))
                return false;
            if (met.Count == 0 || _mesh.Time.GetElapsedTime(met.Since, now) >= StrangersAgain)
                met = (now, 0);
            if (met.Count == MaxStrangersOfOne || _mesh.DiscoveryDials.Take(1) == 0)
                return false;
            _strangers[from] = met with { Count = met.Count + 1 };
            return true;
        }
    }

    /// <summary>Looks for some whose minute is over, at most once a second.</summary>
    private bool TryForgetStrangers(long now)
    {
        if (_strangersSwept != 0 && _mesh.Time.GetElapsedTime(_strangersSwept, now) < TimeSpan.FromSeconds(1))
            return false;
        _strangersSwept = now;
        foreach (var (known, (since, _)) in _strangers)
        {
            if (_mesh.Time.GetElapsedTime(since, now) >= StrangersAgain)
                _strangers.Remove(known);
        }

        return _strangers.Count < MaxStrangers;
    }

    /// <summary>A peer id without a name: it may be a node of this mesh that nobody has named yet, which its hello will tell.</summary>
    private async Task MeetAsync(PeerId peer, InetEndpoint endPoint)
    {
        try
        {
            var connection = await _mesh.Host.DialAsync(Multiaddr.FromEndPoint(endPoint.ToIPEndPoint()).Append($"/p2p/{peer}"), _mesh.Stopping);
            if (_mesh.Sessions.Of(connection) is not { } session)
                return;
            try
            {
                await _hello.GreetAsync(session, expected: null, _mesh.Stopping);
                _linkOf(session.Node)?.Discovered(endPoint);
            }
            catch
            {
                await connection.DisposeAsync();
                throw;
            }
        }
        catch (Exception e) when (e is IOException or TimeoutException or OperationCanceledException)
        {
            LogStranger(_mesh.Logger, endPoint, PeerFault.Of(e));
        }
    }

    [LoggerMessage(6050, LogLevel.Information, "Nodes on the LAN of {Address} are not looked for: multicast DNS does not work there: {Reason}.")]
    private static partial void LogNoMulticast(ILogger logger, InetAddress address, string reason);

    [LoggerMessage(6051, LogLevel.Debug, "Multicast DNS at {Address}: {Reason}.")]
    private static partial void LogFailed(ILogger logger, InetEndpoint address, string reason);

    [LoggerMessage(6052, LogLevel.Debug, "The peer at {Address}, found by multicast DNS, is no node of this mesh: {Reason}.")]
    private static partial void LogStranger(ILogger logger, InetEndpoint address, string reason);

    /// <summary>RFC 6762, 11: answers from farther away than this LAN are not believed, and a node does not answer itself.</summary>
    private sealed class Neighbours(InetAddress local, ImmutableArray<NodeAddress> own, bool allowOwn)
    {
        private readonly AddressRange[] _lan = [.. own.Where(a => a.Address == local).Select(a => new AddressRange(a.Address, a.PrefixLength))];
        private readonly HashSet<InetAddress> _own = allowOwn ? [] : [.. own.Select(a => a.Address)];

        internal bool Has(InetAddress source)
        {
            foreach (var range in _lan)
            {
                if (range.Contains(source))
                    return !_own.Contains(source);
            }

            return false;
        }
    }
}
