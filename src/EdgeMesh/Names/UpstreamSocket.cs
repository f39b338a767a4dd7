using System.Buffers.Binary;
using EdgeMesh.Dns.Forwarding;
using EdgeMesh.Dns.Messages;
using EdgeMesh.Dns.Serving;
using EdgeMesh.Linux;
using EdgeMesh.Linux.Datagrams;
using EdgeMesh.Linux.Sockets;
using EdgeMesh.Net;
using EdgeMesh.Tunnel.Loop;

namespace EdgeMesh.Names;

/// <summary>One message to an upstream, by a UDP socket or a TCP connection of its own. The socket is connected: the kernel lets
/// through what comes from that address and port, and nothing else.</summary>
internal sealed unsafe class UpstreamSocket : ISocketOwner
{
    // A peer that floods has its exchange given up by the forwarder, which counts what is wrong; until then others have their turns.
    private const int ReadsPerEvent = 32;

    private readonly NameLoop _names;
    private readonly Exchange _exchange;
    private readonly DatagramSocket? _datagrams;
    private readonly int _descriptor;
    private readonly StreamFrames? _frames;
    private int _slot = -1;
    private byte[] _unsent;
    private int _sent;
    private bool _isClosed;

    private UpstreamSocket(NameLoop names, Exchange exchange, DatagramSocket datagrams)
    {
        (_names, _exchange, _datagrams, _descriptor, _unsent) = (names, exchange, datagrams, datagrams.Descriptor, []);
    }

    private UpstreamSocket(NameLoop names, Exchange exchange, int descriptor, byte[] frame)
    {
        (_names, _exchange, _descriptor, _unsent, _frames) = (names, exchange, descriptor, frame, new StreamFrames(DnsLimits.MaxMessage));
    }

    internal static bool TryOpen(NameLoop names, Exchange exchange, ReadOnlySpan<byte> message)
    {
        var address = exchange.Upstream.Server.Address;
        var remote = InetEndpoint.From(address);
        UpstreamSocket socket;
        if (exchange.Path == UpstreamPath.Udp)
        {
            // Without our mark: an upstream may be a service, the cluster's own DNS above all, and is reached as one.
            if (DatagramSocket.TryConnect(remote, mark: 0, out var datagrams) != 0)
                return false;
            socket = new UpstreamSocket(names, exchange, datagrams!);
        }
        else
        {
            var descriptor = TcpSocket.Connect(remote, mark: 0, hasBytes: true);
            if (descriptor < 0)
                return false;
            TcpSocket.SendAtOnce(descriptor);
            var frame = new byte[2 + message.Length];
            BinaryPrimitives.WriteUInt16BigEndian(frame, (ushort)message.Length);
            message.CopyTo(frame.AsSpan(2));
            socket = new UpstreamSocket(names, exchange, descriptor, frame);
        }

        socket._slot = names.Loop.Register(socket._descriptor, socket);
        if (socket._slot < 0 || (socket._datagrams is not null && !socket.TrySendDatagram(message)))
        {
            socket.Close();
            return false;
        }

        exchange.Channel = socket;
        return true;
    }

    public void OnReady(EpollEvents events)
    {
        if (_isClosed)
            return;
        if (_frames is not null && !TrySendFrame())
        {
            Fail();
            return;
        }

        for (var i = 0; i < ReadsPerEvent && !_isClosed; i++)
        {
            int count;
            fixed (byte* start = _names.Input)
                count = TcpSocket.Receive(_descriptor, start, _names.Input.Length);
            if (count == -Errno.EAGAIN)
                return;
            // By UDP nothing is a datagram too.
            if (count < 0 || (count == 0 && _frames is not null))
            {
                Fail();
                return;
            }

            Take(_names.Input.AsSpan(0, count));
            _names.Flush();
        }

        // Edge-triggered: what is left is not told again. It is more than any upstream has a reason to send.
        if (!_isClosed)
            Fail();
    }

    public void OnFault(Exception exception)
    {
        if (!_isClosed)
            Fail();
    }

    internal void Close()
    {
        if (_isClosed)
            return;
        _isClosed = true;
        if (_slot >= 0)
            _names.Loop.Unregister(_slot);
        if (_datagrams is not null)
            _datagrams.Dispose();
        else
            TcpSocket.Close(_descriptor);
    }

    private void Take(ReadOnlySpan<byte> input)
    {
        if (_frames is null)
        {
            _names.Server.Forwarder.Received(_exchange, input, _names.Now);
            return;
        }

        while (!_isClosed && _frames.TryRead(ref input, out var message))
            _names.Server.Forwarder.Received(_exchange, message, _names.Now);
    }

    private void Fail()
    {
        _names.Server.Forwarder.Failed(_exchange, _names.Now);
        _names.Flush();
    }

    private bool TrySendDatagram(ReadOnlySpan<byte> message)
    {
        fixed (byte* start = message)
            return TcpSocket.Send(_descriptor, start, message.Length) == message.Length;
    }

    /// <returns>False: the connection is broken, or was never made.</returns>
    private bool TrySendFrame()
    {
        while (_sent < _unsent.Length)
        {
            int count;
            fixed (byte* start = _unsent)
                count = TcpSocket.Send(_descriptor, start + _sent, _unsent.Length - _sent);
            if (count == -Errno.EAGAIN)
                return true;
            if (count < 0)
                return false;
            _sent += count;
        }

        return true;
    }
}
