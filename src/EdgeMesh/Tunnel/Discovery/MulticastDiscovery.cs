using System.Collections.Immutable;
using System.Net;
using System.Net.Sockets;
using System.Security.Cryptography;
using EdgeMesh.LibP2P.Addresses;
using EdgeMesh.Tunnel.Sessions;
using Microsoft.Extensions.Logging;

namespace EdgeMesh.Tunnel.Discovery;

/// <summary>
/// Nodes on the same LAN find each other as libp2p's mDNS specification says: a question for `_p2p._udp.local` to
/// 224.0.0.251:5353, answers with a TXT string `dnsaddr=` and an address for each address. What is announced is a claim: it is
/// dialled, and the handshake decides.
/// </summary>
internal sealed partial class MulticastDiscovery
{
    internal const string Service = "_p2p._udp.local";

    private const string AddressText = "dnsaddr=";
    private const int MaxStrangers = 32;
    private const int MaxAddresses = 8;

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
    private readonly Dictionary<PeerId, long> _strangers = [];

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
        try
        {
            _mesh.Options.Mark(socket);
            socket.SetSocketOption(SocketOptionLevel.Socket, SocketOptionName.ReuseAddress, true);
            socket.Bind(Group);
            socket.SetSocketOption(SocketOptionLevel.IP, SocketOptionName.AddMembership, new MulticastOption(Group.Address, local));
            socket.SetSocketOption(SocketOptionLevel.IP, SocketOptionName.MulticastInterface, BitConverter.ToInt32(local.GetAddressBytes()));
            // RFC 6762, 11: answers from farther away than this LAN are not believed.
            socket.SetSocketOption(SocketOptionLevel.IP, SocketOptionName.MulticastTimeToLive, 255);
        }
        catch (Exception e) when (e is SocketException or IOException)
        {
            LogNoMulticast(_mesh.Logger, local, e.Message);
            return;
        }

        await Task.WhenAll(
            _mesh.Supervisor.LoopAsync("discovery-ask", _ => AskAsync(socket), _mesh.Stopping),
            _mesh.Supervisor.LoopAsync("discovery-listen", _ => ListenAsync(socket, local), _mesh.Stopping));
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

    private async Task ListenAsync(Socket socket, IPAddress local)
    {
        var buffer = new byte[DnsMessage.MaxLength];
        var answered = 0L;
        var anybody = new IPEndPoint(IPAddress.Any, 0);
        while (!_mesh.Stopping.IsCancellationRequested)
        {
            try
            {
                var received = await socket.ReceiveFromAsync(buffer, SocketFlags.None, anybody, _mesh.Stopping);
                if (DnsMessage.Decode(buffer.AsSpan(0, received.ReceivedBytes)) is not { } message)
                    continue;
                if (message.IsResponse)
                {
                    Take(message, ((IPEndPoint)received.RemoteEndPoint).Address);
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
            else if (IsNewStranger(peer.Key))
                _mesh.Supervisor.Start("discovery-meet", () => MeetAsync(peer.Key, endPoints));
        }
    }

    private bool IsFrom(IPAddress announced, IPAddress source) =>
        announced.Equals(source) || (_mesh.Options.AllowLoopback && IPAddress.IsLoopback(announced) && IPAddress.IsLoopback(source));

    /// <summary>Each stranger is met once a minute at most, and only so many of them are.</summary>
    private bool IsNewStranger(PeerId peer)
    {
        var now = _mesh.Time.GetTimestamp();
        lock (_gate)
        {
            foreach (var (known, met) in _strangers)
            {
                if (_mesh.Time.GetElapsedTime(met, now) >= StrangersAgain)
                    _strangers.Remove(known);
            }

            return _strangers.Count < MaxStrangers && _strangers.TryAdd(peer, now);
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
