using System.Runtime.InteropServices;
using EdgeMesh.Net;

namespace EdgeMesh.Linux.Datagrams;

/// <summary>A few datagrams in native memory, received by one system call and sent on by another without being copied
/// in between. Each place has room for the largest datagram; pages that were never needed are never resident.</summary>
public sealed unsafe class DatagramBatch : IDisposable
{
    /// <summary>Beyond the 65,507 (IPv4) and 65,487 (IPv6) bytes that a datagram can carry.</summary>
    public const int PlaceBytes = 65_536;

    private readonly DatagramCalls.BatchedMessage* _messages;
    private readonly DatagramCalls.Vector* _vectors;
    private readonly byte* _names;
    private readonly byte* _peer;
    private readonly byte* _data;
    private bool _disposed;

    public DatagramBatch(int capacity)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(capacity, 1);
        Capacity = capacity;
        var count = (nuint)capacity;
        _messages = (DatagramCalls.BatchedMessage*)NativeMemory.AllocZeroed(count, (nuint)sizeof(DatagramCalls.BatchedMessage));
        _vectors = (DatagramCalls.Vector*)NativeMemory.AllocZeroed(count, (nuint)sizeof(DatagramCalls.Vector));
        _names = (byte*)NativeMemory.AllocZeroed(count + 1, SocketName.MaximumBytes);
        _peer = _names + (capacity * SocketName.MaximumBytes);
        _data = (byte*)NativeMemory.AlignedAlloc(count * PlaceBytes, 4096);
        for (var i = 0; i < capacity; i++)
        {
            _vectors[i].Start = _data + ((nint)i * PlaceBytes);
            _messages[i].Header.Vectors = _vectors + i;
            _messages[i].Header.VectorCount = 1;
        }
    }

    public int Capacity { get; }

    /// <summary>Fills the first places with what waits at <paramref name="socket"/>.</summary>
    /// <param name="withSenders">Keep who sent each (see <see cref="Sender"/>); a connected socket has one sender only.</param>
    /// <returns>How many, or a negated error number; minus EAGAIN when nothing waits.</returns>
    public int Receive(DatagramSocket socket, bool withSenders)
    {
        for (var i = 0; i < Capacity; i++)
        {
            _vectors[i].Length = PlaceBytes;
            _messages[i].Header.Name = withSenders ? _names + (i * SocketName.MaximumBytes) : null;
            _messages[i].Header.NameLength = withSenders ? SocketName.MaximumBytes : 0u;
            _messages[i].Header.Flags = 0;
        }

        var count = DatagramCalls.ReceiveMany(socket.Handle, _messages, (uint)Capacity, DatagramCalls.MsgDontWait, null);
        return count >= 0 ? count : -Marshal.GetLastPInvokeError();
    }

    public InetEndpoint Sender(int index)
    {
        ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual((uint)index, (uint)Capacity, nameof(index));
        return SocketName.Read(new ReadOnlySpan<byte>(_names + (index * SocketName.MaximumBytes), SocketName.MaximumBytes));
    }

    /// <summary>Whether two received datagrams came from the same sender.</summary>
    public bool SameSender(int first, int second)
    {
        ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual((uint)first, (uint)Capacity, nameof(first));
        ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual((uint)second, (uint)Capacity, nameof(second));
        return new ReadOnlySpan<byte>(_names + (first * SocketName.MaximumBytes), SocketName.MaximumBytes)
            .SequenceEqual(new ReadOnlySpan<byte>(_names + (second * SocketName.MaximumBytes), SocketName.MaximumBytes));
    }

    /// <summary>Bytes of one received datagram; 0 is a datagram as well.</summary>
    public int Length(int index)
    {
        ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual((uint)index, (uint)Capacity, nameof(index));
        return (int)_messages[index].Length;
    }

    /// <summary>The bytes of one received datagram, until the next <see cref="Receive"/>.</summary>
    public ReadOnlySpan<byte> Received(int index) => new(_data + ((nint)index * PlaceBytes), Length(index));

    /// <summary>Writes a datagram of one's own to a place, with the one that it is for: see <see cref="SendEach"/>.</summary>
    public void Put(int index, ReadOnlySpan<byte> datagram, in InetEndpoint peer)
    {
        ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual((uint)index, (uint)Capacity, nameof(index));
        datagram.CopyTo(new Span<byte>(_data + ((nint)index * PlaceBytes), PlaceBytes));
        _messages[index].Length = (uint)datagram.Length;
        var name = _names + (index * SocketName.MaximumBytes);
        _messages[index].Header.NameLength = (uint)SocketName.Write(peer, new Span<byte>(name, SocketName.MaximumBytes));
    }

    /// <summary>Sends what <see cref="Put"/> wrote, each to its own peer.</summary>
    /// <inheritdoc cref="SendConnected"/>
    public int SendEach(DatagramSocket socket, int start, int count)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(start);
        ArgumentOutOfRangeException.ThrowIfGreaterThan((uint)count, (uint)(Capacity - start), nameof(count));
        for (var i = start; i < start + count; i++)
        {
            _vectors[i].Length = _messages[i].Length;
            _messages[i].Header.Name = _names + (i * SocketName.MaximumBytes);
        }

        return Send(socket, start, count);
    }

    /// <summary>Sends places of a received batch to whom <paramref name="socket"/> is connected.</summary>
    /// <returns>How many the kernel took, or a negated error number that is about the first of them.</returns>
    public int SendConnected(DatagramSocket socket, int start, int count) => Send(socket, start, count, null, 0);

    /// <summary>Sends places of a received batch to <paramref name="peer"/>.</summary>
    /// <inheritdoc cref="SendConnected"/>
    public int SendTo(DatagramSocket socket, in InetEndpoint peer, int start, int count)
    {
        var length = SocketName.Write(peer, new Span<byte>(_peer, SocketName.MaximumBytes));
        return Send(socket, start, count, _peer, (uint)length);
    }

    public void Dispose()
    {
        if (_disposed)
            return;
        _disposed = true;
        NativeMemory.Free(_messages);
        NativeMemory.Free(_vectors);
        NativeMemory.Free(_names);
        NativeMemory.AlignedFree(_data);
    }

    private int Send(DatagramSocket socket, int start, int count, byte* name, uint nameLength)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(start);
        ArgumentOutOfRangeException.ThrowIfGreaterThan((uint)count, (uint)(Capacity - start), nameof(count));
        for (var i = start; i < start + count; i++)
        {
            _vectors[i].Length = _messages[i].Length;
            _messages[i].Header.Name = name;
            _messages[i].Header.NameLength = nameLength;
        }

        return Send(socket, start, count);
    }

    private int Send(DatagramSocket socket, int start, int count)
    {
        // sendmmsg(2) writes the bytes sent over each Length, which for a datagram is the same number.
        var sent = DatagramCalls.SendMany(
            socket.Handle, _messages + start, (uint)count, DatagramCalls.MsgDontWait | DatagramCalls.MsgNoSignal);
        return sent >= 0 ? sent : -Marshal.GetLastPInvokeError();
    }
}
