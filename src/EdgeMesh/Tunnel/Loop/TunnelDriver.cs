using System.Net;
using System.Net.Sockets;
using EdgeMesh.Linux;
using EdgeMesh.Linux.Sockets;
using EdgeMesh.Net;
using EdgeMesh.Tunnel.Admission;
using EdgeMesh.LibP2P.Connections;

namespace EdgeMesh.Tunnel.Loop;

/// <summary>Brings a host's connections to the loop.</summary>
internal sealed class TunnelDriver : ConnectionDriver
{
    private readonly TunnelLoop _loop;
    private readonly Doorkeeper _door;
    private readonly uint _mark;
    private readonly Func<PeerConnection, StreamSink?> _greeter;

    /// <param name="loop">The loop, started by the caller.</param>
    /// <param name="door">Takes the connections of others, and passes on those that prove the key; started by the caller.</param>
    /// <param name="mark">SO_MARK of sockets that dial; 0: none.</param>
    /// <param name="greeter">Asked for each stream that a peer opens; null: the host serves it.</param>
    public TunnelDriver(TunnelLoop loop, Doorkeeper door, uint mark, Func<PeerConnection, StreamSink?> greeter)
    {
        _loop = loop;
        _door = door;
        _mark = mark;
        _greeter = greeter;
    }

    public override async Task<Stream> ConnectAsync(IPEndPoint endPoint, CancellationToken cancellationToken)
    {
        var descriptor = TcpSocket.Connect(new InetEndpoint(InetAddress.From(endPoint.Address), (ushort)endPoint.Port), _mark);
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
            arrived(new LoopTransport(_loop, new DescriptorHandle(descriptor)), new IPEndPoint(from.Address.ToIPAddress(), from.Port)));

    public override bool CanDrive(Stream transport) =>
        transport is LoopTransport || (transport is PeerStream stream && stream.Connection.DrivenBy is TunnelSession);

    public override void Drive(Stream transport, ConnectionDrive drive)
    {
        drive.Greeter = _greeter;
        if (transport is LoopTransport own)
        {
            var session = new SocketSession(_loop, drive, own);
            _loop.Post(session.Start, session.OnFault);
        }
        else
        {
            var session = new StreamSession(_loop, drive, (PeerStream)transport);
            _loop.Post(session.Start, session.OnFault);
        }
    }

    public override Task JoinAsync(PeerStream one, PeerStream other, long? limit, CancellationToken cancellationToken) =>
        StreamJoin.RunAsync(_loop, one, other, limit, cancellationToken);
}
