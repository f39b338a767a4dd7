using System.Text;

namespace EdgeMesh.LibP2P.Wire;

/// <summary>Writes the fields of one protobuf message to the end of a queue.</summary>
public readonly ref struct ProtobufWriter
{
    private readonly ByteQueue _queue;

    public ProtobufWriter(ByteQueue queue) => _queue = queue;

    public void Number(int field, ulong value)
    {
        Raw((ulong)field << 3);
        Raw(value);
    }

    public void Bytes(int field, ReadOnlySpan<byte> value)
    {
        Raw(((ulong)field << 3) | 2);
        Raw((ulong)value.Length);
        _queue.Append(value);
    }

    public void Text(int field, string value)
    {
        var length = Encoding.UTF8.GetByteCount(value);
        Raw(((ulong)field << 3) | 2);
        Raw((ulong)length);
        Encoding.UTF8.GetBytes(value, _queue.Reserve(length));
        _queue.Commit(length);
    }

    private void Raw(ulong value)
    {
        var length = Varint.Write(_queue.Reserve(Varint.Length(value)), value);
        _queue.Commit(length);
    }

    /// <summary>The bytes of the message that <paramref name="write"/> writes, at most <paramref name="limit"/>.</summary>
    public static byte[] Message<T>(T value, Action<T, ByteQueue> write, int limit = 65536)
    {
        using var queue = new ByteQueue(limit);
        write(value, queue);
        return queue.Data.ToArray();
    }
}
