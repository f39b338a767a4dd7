using EdgeMesh.Linux;
using EdgeMesh.Linux.Sockets;
using EdgeMesh.Net;
using EdgeMesh.Tunnel.Loop;

namespace EdgeMesh.Names;

/// <summary>Accepts connections at one address.</summary>
internal sealed class StreamListener : ISocketOwner, ITurnTaker, IDisposable
{
    private const int Backlog = 1024;
    private const int AcceptsPerTurn = 64;

    private readonly NameLoop _names;
    private readonly TcpListenSocket _socket;
    private readonly int _slot;

    /// <exception cref="IOException">The address cannot be listened on.</exception>
    internal StreamListener(NameLoop names, InetEndpoint endpoint)
    {
        _names = names;
        _socket = TcpListenSocket.Open(endpoint, Backlog, new PeerWatch());
        Endpoint = _socket.Endpoint;
        _slot = names.Loop.Register(_socket.Descriptor, this);
        if (_slot >= 0)
            return;
        _socket.Dispose();
        throw new IOException($"The DNS listener {endpoint} cannot be watched: {Errno.Describe(-_slot)}.");
    }

    internal InetEndpoint Endpoint { get; }

    public bool IsOver { get; private set; }

    /// <summary>From any thread.</summary>
    internal void SteerTo(int index) => _ = _socket.SteerTo(index);

    public void OnReady(EpollEvents events) => OnTurn();

    public void OnTurn()
    {
        for (var i = 0; i < AcceptsPerTurn && !IsOver; i++)
        {
            var descriptor = TcpSocket.Accept(_socket.Descriptor, out var peer);
            if (descriptor >= 0)
            {
                StreamClient.Begin(_names, descriptor, peer);
                continue;
            }

            switch (-descriptor)
            {
                case Errno.EAGAIN:
                    return;
                case Errno.EMFILE or Errno.ENFILE or Errno.ENOMEM or Errno.ENOBUFS:
                    // Nothing tells when there is room again; the next connection does, and what waits is accepted with it.
                    _names.Counters.CountUnaccepted();
                    return;
                default:
                    // That connection is gone already (accept(2)).
                    continue;
            }
        }

        if (!IsOver)
            _names.Loop.TakeTurnLater(this);
    }

    public void OnFault(Exception exception)
    {
        // Where the loop itself is at its end, clients learn it by a refusal, and ask somebody else.
        if (_names.Loop.HasFailed)
            Dispose();
        else if (!IsOver)
            _names.Loop.TakeTurnLater(this);
    }

    public void Dispose()
    {
        if (IsOver)
            return;
        IsOver = true;
        _names.Loop.Unregister(_slot);
        _socket.Dispose();
    }
}
