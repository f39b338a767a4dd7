using System.Buffers.Binary;
using EdgeMesh.Dns.Messages;
using EdgeMesh.Dns.Serving;
using EdgeMesh.Fairness;
using EdgeMesh.Linux;
using EdgeMesh.Linux.Sockets;
using EdgeMesh.Net;
using EdgeMesh.Tunnel.Loop;

namespace EdgeMesh.Names;

/// <summary>One connection of a client: as many requests as it likes, each answered when its answer is there (RFC 7766, 6.2.1.1).</summary>
internal sealed unsafe class StreamClient : ShareMember, ISocketOwner, ITurnTaker, ITimed
{
    // A request is a name and little else; what is longer is refused by its front.
    private const int LongestRequest = 4 * 1024;

    private const int ReadsPerTurn = 4;

    /// <summary>Answers that a client does not read. Beyond it the connection is closed.</summary>
    private const int MostUnsent = 2 * (2 + DnsLimits.MaxMessage);

    private readonly NameLoop _names;
    private readonly int _descriptor;
    private readonly StreamFrames _frames = new(LongestRequest);
    private int _slot;
    private byte[] _unsent = [];
    private int _unsentCount;
    private int _waiting;
    private bool _hasEnded;

    private StreamClient(NameLoop names, int descriptor, in InetEndpoint peer)
    {
        _names = names;
        _descriptor = descriptor;
        Peer = peer;
    }

    internal InetEndpoint Peer { get; }

    /// <summary>By what its answers find it.</summary>
    internal long Path { get; set; }

    public bool IsOver { get; private set; }

    bool ITimed.IsDone => IsOver;

    internal static void Begin(NameLoop names, int descriptor, in InetEndpoint peer)
    {
        var client = new StreamClient(names, descriptor, peer) { LastActive = names.Now };
        names.Add(client);
        client._slot = names.Loop.Register(descriptor, client);
        if (client._slot < 0)
            client.Close();
        else
            names.Idle.Add(client);
    }

    public void OnReady(EpollEvents events)
    {
        if (_unsentCount > 0 && !IsOver && (events & EpollEvents.Out) != EpollEvents.None)
            SendUnsent();
        OnTurn();
    }

    public void OnTurn()
    {
        // Who does not read his answers is not read either.
        for (var i = 0; i < ReadsPerTurn && !IsOver && !_hasEnded && _unsentCount == 0; i++)
        {
            if (!Read())
                return;
        }

        if (!IsOver && !_hasEnded && _unsentCount == 0)
            _names.Loop.TakeTurnLater(this);
    }

    public void OnOverdue()
    {
        if (_names.Now - LastActive >= _names.IdleMilliseconds)
            Close();
        else
            _names.Idle.Add(this);
    }

    public void OnFault(Exception exception) => Close();

    /// <summary>An answer that its request had to wait for.</summary>
    internal void SendLate(ReadOnlySpan<byte> message)
    {
        _waiting--;
        Send(message);
        if (_hasEnded && _waiting == 0 && _unsentCount == 0)
            Close();
    }

    private void Send(ReadOnlySpan<byte> message)
    {
        if (IsOver)
            return;
        LastActive = _names.Now;
        Span<byte> prefix = stackalloc byte[2];
        BinaryPrimitives.WriteUInt16BigEndian(prefix, (ushort)message.Length);
        if (_unsentCount == 0)
        {
            // One packet, and one call: the length and the message together.
            var frame = _names.Frame.AsSpan();
            prefix.CopyTo(frame);
            message.CopyTo(frame[2..]);
            var length = 2 + message.Length;
            var sent = Write(frame[..length]);
            if (sent < 0)
                Close();
            else if (sent < length)
                Keep(frame[sent..length]);
            return;
        }

        Keep(prefix);
        Keep(message);
    }

    internal void Close()
    {
        if (IsOver)
            return;
        IsOver = true;
        _names.Remove(this);
        if (_slot >= 0)
            _names.Loop.Unregister(_slot);
        TcpSocket.Close(_descriptor);
        _unsent = [];
    }

    /// <returns>False: nothing more is there.</returns>
    private bool Read()
    {
        int count;
        fixed (byte* start = _names.Input)
            count = TcpSocket.Receive(_descriptor, start, _names.Input.Length);
        if (count == -Errno.EAGAIN)
            return false;
        if (count <= 0)
        {
            // A client that only closed its own half may still wait for answers: it is closed when it is idle.
            _hasEnded = count == 0;
            if (count < 0 || _waiting == 0)
                Close();
            return false;
        }

        ReadOnlySpan<byte> input = _names.Input.AsSpan(0, count);
        while (!IsOver && _frames.TryRead(ref input, out var message))
            Serve(message);
        return !IsOver;
    }

    private void Serve(ReadOnlySpan<byte> message)
    {
        LastActive = _names.Now;
        var client = new DnsClient(Peer.Address.Bits, Peer.Address.IsIPv6, Peer.Port, IsStream: true, Path);
        var length = _names.Server.Receive(client, message, _names.Answer.AsSpan(0, DnsLimits.MaxMessage), _names.Now);
        if (length > 0)
            Send(_names.Answer.AsSpan(0, length));
        else
            _waiting++;
    }

    private void SendUnsent()
    {
        var sent = Write(_unsent.AsSpan(0, _unsentCount));
        if (sent < 0)
        {
            Close();
            return;
        }

        _unsent.AsSpan(sent, _unsentCount - sent).CopyTo(_unsent);
        _unsentCount -= sent;
        if (_unsentCount > 0)
            return;
        _unsent = [];
        if (_hasEnded && _waiting == 0)
            Close();
    }

    private void Keep(ReadOnlySpan<byte> bytes)
    {
        if (_unsentCount + bytes.Length > MostUnsent)
        {
            _names.Counters.CountClosed();
            Close();
            return;
        }

        if (_unsent.Length < _unsentCount + bytes.Length)
            Array.Resize(ref _unsent, Math.Min(MostUnsent, Math.Max(_unsent.Length * 2, _unsentCount + bytes.Length)));
        bytes.CopyTo(_unsent.AsSpan(_unsentCount));
        _unsentCount += bytes.Length;
    }

    /// <returns>How many bytes were taken; negative: the connection is broken.</returns>
    private int Write(ReadOnlySpan<byte> bytes)
    {
        fixed (byte* start = bytes)
        {
            var sent = TcpSocket.Send(_descriptor, start, bytes.Length);
            return sent == -Errno.EAGAIN ? 0 : sent;
        }
    }
}
