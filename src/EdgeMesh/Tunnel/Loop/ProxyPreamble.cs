using EdgeMesh.LibP2P;
using EdgeMesh.LibP2P.Wire;
using EdgeMesh.Tunnel.Proxy;

namespace EdgeMesh.Tunnel.Loop;

/// <summary>What stands in front of a request of `/edgemesh/proxy/2.0.0`, and in front of its answer: the header of
/// multistream-select and the protocol, by the dialer without waiting for the listener.</summary>
internal static class ProxyPreamble
{
    /// <summary>More room than the headers of a request's frames take.</summary>
    public const int Margin = 1024;

    public static ReadOnlySpan<byte> Bytes => "\x13/multistream/1.0.0\n\x16/edgemesh/proxy/2.0.0\n"u8;

    /// <summary>A whole request.</summary>
    public static ByteQueue Request(TunnelDestination destination, ReadOnlySpan<byte> firstBytes)
    {
        var queue = new ByteQueue(Bytes.Length + OpenMessage.MaxLength + Varint.MaxLength + firstBytes.Length);
        queue.Append(Bytes);
        OpenMessage.Of(destination).Append(queue);
        queue.Append(firstBytes);
        return queue;
    }

    /// <summary>A whole answer.</summary>
    public static byte[] Answer(AnswerCode code, string text)
    {
        using var queue = new ByteQueue(Bytes.Length + AnswerMessage.MaxLength + Varint.MaxLength);
        queue.Append(Bytes);
        Delimited.Append(queue, new AnswerMessage(code, text).Encode());
        return queue.Data.ToArray();
    }

    /// <summary>What nearly every answer is.</summary>
    public static byte[] Ok { get; } = Answer(AnswerCode.Ok, "");
}

/// <summary>Reads the preamble and the answer, which mostly come in one piece.</summary>
internal struct AnswerReader
{
    private byte[]? _partial;

    /// <summary>Takes a piece of the stream; null while the answer is not complete.</summary>
    /// <param name="rest">What comes behind the answer.</param>
    /// <exception cref="PeerProtocolException">The peer does not speak the protocol.</exception>
    public AnswerMessage? Read(ReadOnlySpan<byte> data, out ReadOnlySpan<byte> rest)
    {
        rest = [];
        if (_partial is null && data.StartsWith(ProxyPreamble.Ok))
        {
            rest = data[ProxyPreamble.Ok.Length..];
            return AnswerMessage.Ok;
        }

        var known = _partial?.Length ?? 0;
        if (known > 0)
            data = (byte[])[.. _partial!, .. data];
        var preamble = ProxyPreamble.Bytes;
        if (!data.StartsWith(preamble[..Math.Min(preamble.Length, data.Length)]))
            throw new PeerProtocolException("the peer does not speak the proxy's protocol");
        if (data.Length > preamble.Length && Delimited.TryRead(data[preamble.Length..], AnswerMessage.MaxLength, out var message, out var consumed))
        {
            rest = data[(preamble.Length + consumed)..];
            _partial = null;
            return AnswerMessage.Decode(message);
        }

        _partial = data.ToArray();
        return null;
    }
}
