using System.Net;
using System.Net.Sockets;
using System.Runtime.CompilerServices;
using EdgeMesh.LibP2P.Connections;
using EdgeMesh.Linux;
using EdgeMesh.Linux.Sockets;
using EdgeMesh.Net;
using EdgeMesh.Tunnel.Admission;

namespace EdgeMesh.Tunnel.Loop;

/// <summary>Brings a host's connections to the loop.</summary>
internal sealed class TunnelDriver : ConnectionDriver
{
    private readonly TunnelLoop _loop;
    private readonly Doorkeeper _door;
    private readonly uint _mark;
    private readonly Func<TunnelSession, StreamSink?> _opened;
    private readonly ConditionalWeakTable<PeerConnection, TunnelSession> _sessions = [];

    /// <param name="loop">The loop, started by the caller.</param>
    /// <param name="door">Takes the connections of others, and passes on those that prove the key; started by the caller.</param>
    /// <param name="mark">SO_MARK of sockets that dial; 0: none.</param>
    /// <param name="opened">Asked for each stream that a peer opens, on the session's thread; null: the host serves it.</param>
    public TunnelDriver(TunnelLoop loop, Doorkeeper door, uint mark, Func<TunnelSession, StreamSink?> opened)
    {
        _loop = loop;
        _door = door;
        _mark = mark;
        _opened = opened;
    }

    public override async Task<Stream> ConnectAsync(IPEndPoint endPoint, CancellationToken cancellationToken)
    {
        var descriptor = TcpSocket.Connect(InetEndpoint.From(endPoint), _mark);
        if (descriptor < 0)
            throw new IOException(Errno.Describe(-descriptor));
        TcpSocket.SendAtOnce(descriptor);
        var transport = new LoopTransport(_loop, new DescriptorHandle(descriptor));
        try
        {
            await transport.ConnectedAsync(cancellationToken);
            return transport;
        }
        catch
        {
            await transport.DisposeAsync();
            throw;
        }
    }

    public override IAsyncDisposable Accept(Socket listener, Action<Stream, IPEndPoint> arrived) =>
        _door.Open(listener, (descriptor, from) =>
            arrived(new LoopTransport(_loop, new DescriptorHandle(descriptor)), from.ToIPEndPoint()));

    /// <summary>The session of a connection; null before its handshake is done.</summary>
    public TunnelSession? SessionOf(PeerConnection connection) => _sessions.TryGetValue(connection, out var session) ? session : null;

    public override bool CanDrive(Stream transport) =>
        transport is LoopTransport || (transport is PeerStream stream && SessionOf(stream.Connection) is not null);

    public override void Drive(Stream transport, ConnectionDrive drive)
    {
        if (transport is LoopTransport own)
        {
            var session = new SocketSession(drive, own);
            Begin(session, session.Start);
        }
        else
        {
            var stream = (PeerStream)transport;
            var session = new StreamSession(SessionUnder(stream), drive, stream);
            Begin(session, session.Start);
        }
    }

    public override Task JoinAsync(PeerStream one, PeerStream other, long? limit, CancellationToken cancellationToken) =>
        StreamJoin.RunAsync((SessionUnder(one), one), (SessionUnder(other), other), limit, cancellationToken);

    private void Begin(TunnelSession session, Action start)
    {
        session.Drive.Opened = () => _opened(session);
        _sessions.Add(session.Drive.Connection, session);
        session.Loop.Post(start, session.OnFault);
    }

    private TunnelSession SessionUnder(PeerStream stream) =>
        SessionOf(stream.Connection) ?? throw new InvalidOperationException("the stream's connection is not on a loop");
}
