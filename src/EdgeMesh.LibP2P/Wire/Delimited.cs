namespace EdgeMesh.LibP2P.Wire;

/// <summary>Messages with a varint length in front, as most libp2p protocols send them.</summary>
public static class Delimited
{
    /// <summary>The first whole message in <paramref name="input"/>; false if more bytes are needed.</summary>
    /// <exception cref="PeerProtocolException">The message is longer than <paramref name="limit"/>.</exception>
    public static bool TryRead(ReadOnlySpan<byte> input, int limit, out ReadOnlySpan<byte> message, out int consumed)
    {
        message = default;
        consumed = 0;
        var result = Varint.Read(input, out var length, out var prefix);
        if (result == VarintResult.TooLong || (result == VarintResult.Read && length > (ulong)limit))
            throw new PeerProtocolException($"a message longer than {limit} bytes was announced");
        if (result == VarintResult.Incomplete || input.Length - prefix < (int)length)
            return false;
        message = input.Slice(prefix, (int)length);
        consumed = prefix + (int)length;
        return true;
    }

    /// <summary>Adds a message and its length.</summary>
    public static void Append(ByteQueue queue, ReadOnlySpan<byte> message)
    {
        var prefix = Varint.Write(queue.Reserve(Varint.Length((ulong)message.Length)), (ulong)message.Length);
        queue.Commit(prefix);
        queue.Append(message);
    }
}
