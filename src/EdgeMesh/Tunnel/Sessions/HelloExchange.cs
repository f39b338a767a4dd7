using System.Collections.Immutable;
using System.Net;
using System.Security.Cryptography;
using EdgeMesh.LibP2P;
using EdgeMesh.LibP2P.Addresses;
using EdgeMesh.LibP2P.Connections;
using EdgeMesh.LibP2P.Identify;
using EdgeMesh.Linux;
using Microsoft.Extensions.Logging;

namespace EdgeMesh.Tunnel.Sessions;

/// <summary>Who is who: the dialer of a session opens a stream and says its hello, the other side checks it and answers with
/// its own. Either side does it again when what it says has changed.</summary>
internal sealed partial class HelloExchange
{
    /// <summary>Beyond the streams that the limits give a peer: hello, ping, and what passes through a relay.</summary>
    private const int StreamsBesides = 1024;

    private const int MaxProbesPerNode = 16;
    private const int GreetingsAtOnce = 32;

    private readonly MeshContext _mesh;
    private readonly Func<string, PeerLink?> _linkOf;
    private readonly ulong _instance = BitConverter.ToUInt64(RandomNumberGenerator.GetBytes(sizeof(ulong)));
    private ImmutableArray<AddressRange> _ranges;

    private int StreamsOfNodes => (int)Math.Min((long)_mesh.Options.Limits.StreamsInPerPeer + StreamsBesides, int.MaxValue);

    /// <param name="linkOf">The link of a node, made if need be; null: as many are kept as may.</param>
    internal HelloExchange(MeshContext mesh, Func<string, PeerLink?> linkOf)
    {
        _mesh = mesh;
        _linkOf = linkOf;
        _ranges = mesh.Options.Ranges;
        mesh.Host.Handle(HelloMessage.Protocol, AnswerAsync);
    }

    /// <summary>Says hello on a session that this side dialled.</summary>
    /// <param name="expected">Which node was dialled; null: any.</param>
    /// <exception cref="IOException">The peer is not admitted, or the session is lost.</exception>
    internal async Task GreetAsync(MeshSession session, string? expected, CancellationToken cancellationToken)
    {
        PeerStream stream;
        try
        {
            stream = await session.Connection.OpenStreamAsync(HelloMessage.Protocol, cancellationToken);
        }
        catch (IOException) when (session.IsAlive && expected is not null)
        {
            await AdmitWithoutHelloAsync(session, expected, cancellationToken);
            return;
        }

        await using (stream)
        {
            await Negotiation.WriteMessageAsync(stream, Own(session.IsProbe).Encode(), cancellationToken);
            stream.CloseWrite();
            var hello = HelloMessage.Decode(await ReadAsync(stream, cancellationToken));
            if (expected is not null && hello.Node != expected)
                throw new PeerProtocolException($"the peer is not {expected}");
            Admit(session, hello);
        }
    }

    /// <summary>Says other ranges from now on, and tells those who have a session.</summary>
    internal async Task AdvertiseAsync(ImmutableArray<AddressRange> ranges, CancellationToken cancellationToken)
    {
        if (ranges.SequenceEqual(_ranges))
            return;
        _ranges = ranges;
        var sessions = _mesh.Sessions.All.Where(s => s is { Hello: not null, IsProbe: false, SpeaksProxy2: true });
        var bounds = new ParallelOptions { MaxDegreeOfParallelism = GreetingsAtOnce, CancellationToken = cancellationToken };
        await Parallel.ForEachAsync(sessions, bounds, async (session, token) =>
        {
            try
            {
                await GreetAsync(session, session.Node, token);
            }
            catch (Exception e) when (e is IOException or TimeoutException)
            {
                // The session is lost: the next one begins with a hello.
            }
        });
    }

    private async Task AnswerAsync(PeerStream stream, CancellationToken cancellationToken)
    {
        if (_mesh.Sessions.Of(stream.Connection) is not { } session)
            throw new IOException("the session is over");
        try
        {
            Admit(session, HelloMessage.Decode(await ReadAsync(stream, cancellationToken)));
        }
        catch (PeerProtocolException)
        {
            stream.Reset();
            _mesh.Counters.CountStranger();
            await stream.Connection.DisposeAsync();
            throw;
        }

        await Negotiation.WriteMessageAsync(stream, Own(session.IsProbe).Encode(), cancellationToken);
    }

    private async Task<byte[]> ReadAsync(PeerStream stream, CancellationToken cancellationToken)
    {
        using var limit = new CancellationTokenSource(_mesh.Host.Options.NegotiationTimeout, _mesh.Time);
        using var either = CancellationTokenSource.CreateLinkedTokenSource(limit.Token, cancellationToken);
        try
        {
            return await Negotiation.ReadMessageAsync(stream, HelloMessage.MaxLength, either.Token);
        }
        catch (OperationCanceledException e) when (!cancellationToken.IsCancellationRequested)
        {
            throw new PeerProtocolException("the peer did not say its hello in time", e);
        }
    }

    private void Admit(MeshSession session, HelloMessage hello)
    {
        var connection = session.Connection;
        if (hello.Node == _mesh.Options.NodeName)
        {
            if (!connection.RemotePeer.Equals(_mesh.Host.PeerId) || hello.Instance != _instance)
                _mesh.Faults.OwnName(connection.RemoteAddress, hello.Node);
            throw new PeerProtocolException("the peer has this node's own name");
        }

        if (!_mesh.Directory.Is(hello.Node, connection.RemotePeer))
        {
            _mesh.Faults.NotItsName(connection.RemoteAddress, hello.Node);
            throw new PeerProtocolException("the peer's identity is not that of the node that it says it is");
        }

        Admit(session, hello, StreamsOfNodes);
    }

    private void Admit(MeshSession session, HelloMessage hello, int streams)
    {
        if (_linkOf(hello.Node) is not { } link)
            throw new PeerProtocolException($"{_mesh.Options.MaxPeers} nodes are known already");
        if (hello.IsProbe && _mesh.Sessions.All.Count(s => s.IsProbe && s.Node == hello.Node) >= MaxProbesPerNode)
            throw new PeerProtocolException("too many probes of one node");
        session.Admit(hello, _mesh.Driver.SessionOf(session.Connection) ?? throw new IOException("the session is over"));
        session.Connection.AllowStreams(session.IsProbe ? SessionRegistry.StreamsOfStrangers : streams);
        if (!session.IsProbe && !link.TryAdd(session))
            throw new PeerProtocolException("too many sessions of one node");
    }

    /// <summary>A node of the first protocol says no hello; its identity says which it is all the same.</summary>
    private async Task AdmitWithoutHelloAsync(MeshSession session, string node, CancellationToken cancellationToken)
    {
        if (!_mesh.Directory.Is(node, session.Connection.RemotePeer))
            throw new PeerProtocolException("the peer's identity is not that of the node that was dialled");
        var identity = await _mesh.Identify.AskAsync(session.Connection, cancellationToken);
        if (!identity.Protocols.Contains(HelloMessage.FirstProxyProtocol))
            throw new PeerProtocolException("the peer speaks no proxy protocol that is known here");
        LogLegacy(_mesh.Logger, node, session.Connection.RemoteAddress);
        Admit(session, new HelloMessage { Node = node, ProxyVersions = [1], Addresses = [.. identity.ListenAddresses.Take(8)] }, StreamsOfNodes);
    }

    private HelloMessage Own(bool isProbe) => new()
    {
        Node = _mesh.Options.NodeName,
        Ranges = isProbe ? [] : _ranges,
        Addresses = isProbe ? [] : OwnAddresses(_mesh),
        ProxyVersions = [2, 1],
        IsRelay = _mesh.Options.IsRelay,
        IsProbe = isProbe,
        Instance = _instance,
    };

    /// <summary>Where others may dial: what is configured, or else the listeners that are no wildcards.</summary>
    internal static ImmutableArray<Multiaddr> OwnAddresses(MeshContext mesh)
    {
        if (mesh.Options.Advertise is { IsEmpty: false } configured)
            return [.. configured.Select(e => Multiaddr.FromEndPoint(e.ToIPEndPoint()))];
        return [.. mesh.Host.ListenAddresses.Where(a => a.TryGetTcpEndPoint(out var e) && !e.Address.Equals(IPAddress.Any) && !e.Address.Equals(IPAddress.IPv6Any))];
    }

    [LoggerMessage(6003, LogLevel.Debug, "{Node} at {Address} speaks the first proxy protocol.")]
    private static partial void LogLegacy(ILogger logger, string node, Multiaddr? address);
}
