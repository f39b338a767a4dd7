using System.Buffers;

namespace EdgeMesh.LibP2P.Wire;

/// <summary>Bytes waiting to be read or sent, contiguous, with a limit. Not thread-safe: it belongs to one state machine.
/// An empty queue holds no memory, so that thousands of idle streams cost nothing.</summary>
public sealed class ByteQueue : IDisposable
{
    private readonly int _limit;
    private byte[] _buffer = [];
    private int _head;
    private int _tail;
    private int _usual;

    /// <summary>A queue that never holds more than <paramref name="limit"/> bytes.</summary>
    public ByteQueue(int limit)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(limit);
        _limit = limit;
    }

    /// <summary>A full queue that holds a copy of these bytes, at least one.</summary>
    public static ByteQueue Of(ReadOnlySpan<byte> bytes)
    {
        var queue = new ByteQueue(bytes.Length);
        queue.Append(bytes);
        return queue;
    }

    /// <summary>How many bytes wait.</summary>
    public int Count => _tail - _head;

    /// <summary>How many bytes may still be added.</summary>
    public int Room => _limit - Count;

    /// <summary>What waits, oldest first; valid until the next call that changes the queue.</summary>
    public Span<byte> Data => _buffer.AsSpan(_head, Count);

    /// <summary>As <see cref="Data"/>, for an asynchronous write.</summary>
    public ReadOnlyMemory<byte> Memory => _buffer.AsMemory(_head, Count);

    /// <summary>Space for exactly <paramref name="count"/> bytes at the end, to be filled and then committed.</summary>
    /// <exception cref="PeerProtocolException">The limit would be passed: whoever should read does not.</exception>
    public Span<byte> Reserve(int count)
    {
        if (count > Room)
            throw new PeerProtocolException($"more than {_limit} bytes wait to be read");
        if (count > _buffer.Length - _tail)
            MakeSpace(count);
        return _buffer.AsSpan(_tail, count);
    }

    /// <summary>The first <paramref name="count"/> bytes of the reserved space now belong to the queue.</summary>
    public void Commit(int count)
    {
        if ((uint)count > (uint)(_buffer.Length - _tail))
            throw new ArgumentOutOfRangeException(nameof(count));
        _tail += count;
    }

    /// <summary>Copies bytes to the end.</summary>
    /// <exception cref="PeerProtocolException">The limit would be passed.</exception>
    public void Append(ReadOnlySpan<byte> bytes)
    {
        if (bytes.IsEmpty)
            return;
        bytes.CopyTo(Reserve(bytes.Length));
        _tail += bytes.Length;
    }

    /// <summary>Forgets the oldest <paramref name="count"/> bytes.</summary>
    public void Consume(int count)
    {
        if ((uint)count > (uint)Count)
            throw new ArgumentOutOfRangeException(nameof(count));
        _head += count;
        if (_head == _tail)
            Dispose();
    }

    /// <summary>Moves as much as fits into <paramref name="destination"/> and says how much that was.</summary>
    public int Take(Span<byte> destination)
    {
        var count = Math.Min(Count, destination.Length);
        Data[..count].CopyTo(destination);
        Consume(count);
        return count;
    }

    /// <summary>Forgets everything and gives the memory back. The queue can be used again.</summary>
    public void Dispose()
    {
        var buffer = _buffer;
        // What it grew to is what it starts with when it is filled again, so that a busy queue does not copy itself from size to size.
        _usual = _tail > buffer.Length / 2 ? buffer.Length : buffer.Length / 2;
        _buffer = [];
        _head = _tail = 0;
        if (buffer.Length > 0)
            ArrayPool<byte>.Shared.Return(buffer);
    }

    private void MakeSpace(int count)
    {
        var held = Count;
        // Moving is cheaper than growing as long as at least half of the buffer is free.
        if (held + count <= _buffer.Length && held <= _buffer.Length / 2)
        {
            _buffer.AsSpan(_head, held).CopyTo(_buffer);
        }
        else
        {
            var larger = ArrayPool<byte>.Shared.Rent(Math.Max(held + count, Math.Min(_limit, Math.Max(_usual, _buffer.Length * 2))));
            Data.CopyTo(larger);
            if (_buffer.Length > 0)
                ArrayPool<byte>.Shared.Return(_buffer);
            _buffer = larger;
        }

        _head = 0;
        _tail = held;
    }
}
