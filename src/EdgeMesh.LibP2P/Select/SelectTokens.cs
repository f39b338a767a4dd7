using System.Text;
using EdgeMesh.LibP2P.Wire;

namespace EdgeMesh.LibP2P.Select;

/// <summary>The tokens of multistream-select: varint length, text, newline.</summary>
internal static class SelectTokens
{
    internal const string Header = "/multistream/1.0.0";
    internal const string NotAvailable = "na";

    /// <summary>The longest token that is read or written, with its newline.</summary>
    internal const int MaxLength = 256;

    internal static void Append(ByteQueue queue, string token)
    {
        var length = Encoding.UTF8.GetByteCount(token);
        queue.Commit(Varint.Write(queue.Reserve(Varint.Length((ulong)length + 1)), (ulong)length + 1));
        Encoding.UTF8.GetBytes(token, queue.Reserve(length));
        queue.Commit(length);
        queue.Append("\n"u8);
    }

    /// <summary>The first whole token of what has arrived so far.</summary>
    /// <exception cref="PeerProtocolException">It is too long or has no newline.</exception>
    internal static bool TryRead(ReadOnlySpan<byte> input, out string token, out int consumed)
    {
        token = "";
        if (!Delimited.TryRead(input, MaxLength, out var message, out consumed))
            return false;
        if (message.IsEmpty || message[^1] != (byte)'\n')
            throw new PeerProtocolException("the peer does not speak multistream-select");
        token = Encoding.UTF8.GetString(message[..^1]);
        return true;
    }
}
