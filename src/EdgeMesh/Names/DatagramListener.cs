using EdgeMesh.Dns.Serving;
using EdgeMesh.Linux;
using EdgeMesh.Linux.Datagrams;
using EdgeMesh.Linux.Sockets;
using EdgeMesh.Net;
using EdgeMesh.Tunnel.Loop;

namespace EdgeMesh.Names;

/// <summary>Requests by UDP at one address: received many at a time, and their answers sent many at a time.</summary>
internal sealed class DatagramListener : ISocketOwner, ITurnTaker, IDisposable
{
    private const int BatchSize = 64;

    // Other sockets of the loop have their turn after so many datagrams.
    private const int BatchesPerTurn = 4;

    private readonly NameLoop _names;
    private readonly DatagramSocket _socket;
    private readonly DatagramBatch _in = new(BatchSize);
    private readonly DatagramBatch _out = new(BatchSize);
    private readonly int _path;
    private readonly int _slot;
    private int _queued;

    /// <exception cref="IOException">The address cannot be listened on.</exception>
    internal DatagramListener(NameLoop names, InetEndpoint endpoint, int bufferBytes, int path)
    {
        _names = names;
        _path = path;
        _socket = DatagramSocket.Listen(endpoint, bufferBytes, mark: 0);
        Endpoint = _socket.LocalEndpoint;
        _slot = names.Loop.Register(_socket.Descriptor, this);
        if (_slot >= 0)
            return;
        _socket.Dispose();
        throw new IOException($"The DNS listener {endpoint} cannot be watched: {Errno.Describe(-_slot)}.");
    }

    internal InetEndpoint Endpoint { get; }

    public bool IsOver { get; private set; }

    /// <summary>From any thread: new requests go to the socket at that place of all that share the port.</summary>
    internal void SteerTo(int index) => _socket.SteerTo(index);

    public void OnReady(EpollEvents events) => OnTurn();

    public void OnTurn()
    {
        if (IsOver)
            return;
        for (var round = 0; round < BatchesPerTurn; round++)
        {
            var count = _in.Receive(_socket, withSenders: true);
            for (var i = 0; i < count; i++)
                Serve(i);
            _names.Flush();
            // Fewer than were asked for: nothing waits, and the next one is told.
            if (count < BatchSize)
                return;
        }

        _names.Loop.TakeTurnLater(this);
    }

    /// <summary>A fault costs the requests of one batch; the socket is told of what comes next.</summary>
    public void OnFault(Exception exception)
    {
        // Where the loop itself is at its end, clients learn it by a refusal, and ask somebody else.
        if (_names.Loop.HasFailed)
            Dispose();
        else if (!IsOver)
            _names.Loop.TakeTurnLater(this);
    }

    /// <summary>Puts an answer to those that <see cref="Flush"/> sends.</summary>
    internal void Put(ReadOnlySpan<byte> message, in InetEndpoint client)
    {
        if (IsOver)
            return;
        if (_queued == BatchSize)
            Flush();
        _out.Put(_queued++, message, client);
    }

    internal void Flush()
    {
        for (var start = 0; start < _queued;)
        {
            var sent = _out.SendEach(_socket, start, _queued - start);
            if (sent <= 0)
            {
                // The error is about the first one: no room, or nobody there. Its client asks again.
                _names.Counters.CountUnsent();
                sent = 1;
            }

            start += sent;
        }

        _queued = 0;
    }

    public void Dispose()
    {
        if (IsOver)
            return;
        IsOver = true;
        _queued = 0;
        _names.Loop.Unregister(_slot);
        _socket.Dispose();
        _in.Dispose();
        _out.Dispose();
    }

    private void Serve(int index)
    {
        var sender = _in.Sender(index);
        var client = new DnsClient(sender.Address.Bits, sender.Address.IsIPv6, sender.Port, IsStream: false, _path);
        var length = _names.Server.Receive(client, _in.Received(index), _names.Answer, _names.Now);
        if (length > 0)
            Put(_names.Answer.AsSpan(0, length), sender);
    }
}
