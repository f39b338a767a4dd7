using System.Collections.Immutable;
using System.Net;
using System.Net.Sockets;
using System.Security.Cryptography;
using EdgeMesh.LibP2P.Addresses;
using EdgeMesh.Linux;
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

    /// <summary>Sources of answers about peers without a name, in a minute; and such peers of one source.</summary>
    private const int MaxStrangers = 256;
    private const int MaxStrangersOfOne = 2;

    private const int MulticastAll = 49;

    private static readonly IPEndPoint Group = new(IPAddress.Parse("224.0.0.251"), 5353);
    private static readonly TimeSpan FirstQuestion = TimeSpan.FromSeconds(1);
    private static readonly TimeSpan LongestPause = TimeSpan.FromSeconds(60);
    private static readonly TimeSpan BetweenAnswers = TimeSpan.FromMilliseconds(500);
    private static readonly TimeSpan StrangersAgain = TimeSpan.FromMinutes(1);

    private readonly MeshContext _mesh;
    private readonly Func<string, PeerLink?> _linkOf;
    private readonly HelloExchange _hello;
    private readonly string _name = $"{Convert.ToHexStringLower(RandomNumberGenerator.GetBytes(16))}.{Service}";
    private readonly Lock _gate = new();
    private readonly Dictionary<IPAddress, (long Since, int Count)> _strangers = [];

    internal MulticastDiscovery(MeshContext mesh, Func<string, PeerLink?> linkOf, HelloExchange hello)
    {
        _mesh = mesh;
        _linkOf = linkOf;
        _hello = hello;
    }

    /// <summary>Asks and answers on one address of this node until the node stops. Without multicast there it gives up, once
    /// and with a word.</summary>
    internal async Task RunAsync(IPAddress local)
    {
        using var socket = new Socket(AddressFamily.InterNetwork, SocketType.Dgram, ProtocolType.Udp);
        var own = NodeAddresses.List();
        var lan = own.Where(a => a.Address == InetAddress.From(local)).Select(a => new AddressRange(a.Address, a.PrefixLength)).ToImmutableArray();
        bool IsNeighbour(IPAddress source) =>
            lan.Any(range => range.Contains(InetAddress.From(source))) && (_mesh.Options.AllowLoopback || own.All(a => a.Address != InetAddress.From(source)));
        try
        {
            _mesh.Options.Mark(socket);
            socket.SetSocketOption(SocketOptionLevel.Socket, SocketOptionName.ReuseAddress, true);
            socket.Bind(Group);
            socket.SetSocketOption(SocketOptionLevel.IP, SocketOptionName.AddMembership, new MulticastOption(Group.Address, local));
            socket.SetSocketOption(SocketOptionLevel.IP, SocketOptionName.MulticastInterface, BitConverter.ToInt32(local.GetAddressBytes()));
            // What other programs' groups bring, and other devices, is not for this socket.
            socket.SetRawSocketOption((int)SocketOptionLevel.IP, MulticastAll, BitConverter.GetBytes(0));
            socket.SetSocketOption(SocketOptionLevel.IP, SocketOptionName.MulticastTimeToLive, 255);
        }
        catch (Exception e) when (e is SocketException or IOException)
        {
            LogNoMulticast(_mesh.Logger, local, e.Message);
            return;
        }

        await Task.WhenAll(
            _mesh.Supervisor.LoopAsync("discovery-ask", _ => AskAsync(socket), _mesh.Stopping),
            _mesh.Supervisor.LoopAsync("discovery-listen", _ => ListenAsync(socket, local, IsNeighbour), _mesh.Stopping));
    }

    private async Task AskAsync(Socket socket)
    {
        var question = new DnsMessage { Questions = [Service] }.Encode();
        var pause = FirstQuestion;
        do
        {
            await SendAsync(socket, question);
            pause = pause * 2 < LongestPause ? pause * 2 : LongestPause;
        }
        while (await _mesh.WaitAsync(pause / 2));
    }

    /// <param name="isNeighbour">RFC 6762, 11: answers from farther away than this LAN are not believed.</param>
    private async Task ListenAsync(Socket socket, IPAddress local, Func<IPAddress, bool> isNeighbour)
    {
        var buffer = new byte[DnsMessage.MaxLength];
        var answered = 0L;
        var anybody = new IPEndPoint(IPAddress.Any, 0);
        while (!_mesh.Stopping.IsCancellationRequested)
        {
            try
            {
                var received = await socket.ReceiveFromAsync(buffer, SocketFlags.None, anybody, _mesh.Stopping);
                var source = ((IPEndPoint)received.RemoteEndPoint).Address;
                if (!isNeighbour(source) || DnsMessage.Decode(buffer.AsSpan(0, received.ReceivedBytes)) is not { } message)
                    continue;
                if (message.IsResponse)
                {
                    Take(message, source);
                }
                else if (message.Questions.Contains(Service, StringComparer.OrdinalIgnoreCase)
                    && (answered == 0 || _mesh.Time.GetElapsedTime(answered) > BetweenAnswers))
                {
                    answered = _mesh.Time.GetTimestamp();
                    await SendAsync(socket, Answer(local));
                }
            }
            catch (SocketException e)
            {
                // The device may be gone for a while.
                LogFailed(_mesh.Logger, local, e.Message);
                await _mesh.WaitAsync(BetweenAnswers);
            }
            catch (OperationCanceledException)
            {
                return;
            }
        }
    }

    private async Task SendAsync(Socket socket, byte[] message)
    {
        try
        {
            await socket.SendToAsync(message, Group, _mesh.Stopping);
        }
        catch (SocketException e)
        {
            LogFailed(_mesh.Logger, Group.Address, e.Message);
        }
        catch (OperationCanceledException)
        {
            // The node stops.
        }
    }

    private byte[] Answer(IPAddress local)
    {
        var addresses = HelloExchange.OwnAddresses(_mesh).AsEnumerable();
        // A wildcard listener is reached at the address of this LAN.
        if (_mesh.Host.ListenAddresses.FirstOrDefault(a => a.TryGetTcpEndPoint(out var e) && e.Address.Equals(IPAddress.Any)) is { } any && any.TryGetTcpEndPoint(out var endPoint))
            addresses = addresses.Append(Multiaddr.FromEndPoint(new IPEndPoint(local, endPoint.Port)));
        return new DnsMessage
        {
            IsResponse = true,
            Pointers = [(Service, _name)],
            Texts = [.. addresses.Distinct().OrderByDescending(a => a.TryGetTcpEndPoint(out var e) && e.Address.Equals(local)).Take(MaxAddresses).Select(a => (_name, $"{AddressText}{a}/p2p/{_mesh.Host.PeerId}"))],
        }.Encode();
    }

    /// <summary>A node answers for itself: addresses other than the answer's own source are passed over, so that nobody on the LAN
    /// has this node dial whatever he likes.</summary>
    private void Take(DnsMessage message, IPAddress from)
    {
        var found = message.Texts
            .Where(t => t.Name.EndsWith(Service, StringComparison.OrdinalIgnoreCase) && t.Text.StartsWith(AddressText, StringComparison.Ordinal))
            .Select(t => Multiaddr.TryParse(t.Text[AddressText.Length..], out var address) ? address : null)
            .Where(a => a is { IsRelayed: false, Peer: not null } && !a.Peer.Equals(_mesh.Host.PeerId))
            .GroupBy(a => a!.Peer!);
        foreach (var peer in found)
        {
            var endPoints = peer.Select(a => a!.TryGetTcpEndPoint(out var e) ? e : null).OfType<IPEndPoint>()
                .Where(e => IsFrom(e.Address, from) && AnnouncedAddress.IsDialable(e, _mesh.Options)).Take(MaxAddresses).ToImmutableArray();
            if (endPoints.IsEmpty)
                continue;
            if (_mesh.Directory.NameOf(peer.Key) is { } name)
                _linkOf(name)?.Discovered(endPoints);
            else if (IsNewStranger(from))
                _mesh.Supervisor.Start("discovery-meet", () => MeetAsync(peer.Key, endPoints));
        }
    }

    private bool IsFrom(IPAddress announced, IPAddress source) =>
        announced.Equals(source) || (_mesh.Options.AllowLoopback && IPAddress.IsLoopback(announced) && IPAddress.IsLoopback(source));

    /// <summary>Of each source so many are met in a minute, of all so many, and all of them within the allowance of dials.</summary>
    private bool IsNewStranger(IPAddress from)
    {
        var now = _mesh.Time.GetTimestamp();
        lock (_gate)
        {
            if (!_strangers.TryGetValue(from, out var met) && _strangers.Count >= MaxStrangers)
            {
                foreach (var (known, (since, _)) in _strangers)
                {
                    if (_mesh.Time.GetElapsedTime(since, now) >= StrangersAgain)
                        _strangers.Remove(known);
                }

                if (_strangers.Count >= MaxStrangers)
                    return false;
            }

            if (met.Count == 0 || _mesh.Time.GetElapsedTime(met.Since, now) >= StrangersAgain)
                met = (now, 0);
            if (met.Count == MaxStrangersOfOne || _mesh.DiscoveryDials.Take(1) == 0)
                return false;
            _strangers[from] = met with { Count = met.Count + 1 };
            return true;
        }
    }

    /// <summary>A peer id without a name: it may be a node of this mesh that nobody has named yet, which its hello will tell.</summary>
    private async Task MeetAsync(PeerId peer, ImmutableArray<IPEndPoint> endPoints)
    {
        foreach (var endPoint in endPoints)
        {
            try
            {
                var connection = await _mesh.Host.DialAsync(Multiaddr.FromEndPoint(endPoint).Append($"/p2p/{peer}"), _mesh.Stopping);
                if (_mesh.Sessions.Of(connection) is not { } session)
                    continue;
                try
                {
                    await _hello.GreetAsync(session, expected: null, _mesh.Stopping);
                    _linkOf(session.Node)?.Discovered(endPoints);
                    return;
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
    }

    [LoggerMessage(6050, LogLevel.Information, "Nodes on the LAN of {Address} are not looked for: multicast DNS does not work there: {Reason}.")]
    private static partial void LogNoMulticast(ILogger logger, IPAddress address, string reason);

    [LoggerMessage(6051, LogLevel.Debug, "Multicast DNS on {Address}: {Reason}.")]
    private static partial void LogFailed(ILogger logger, IPAddress address, string reason);

    [LoggerMessage(6052, LogLevel.Debug, "The peer at {Address}, found by multicast DNS, is no node of this mesh: {Reason}.")]
    private static partial void LogStranger(ILogger logger, IPEndPoint address, string reason);
}
