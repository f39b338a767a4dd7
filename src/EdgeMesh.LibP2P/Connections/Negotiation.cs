using EdgeMesh.LibP2P.Select;
using EdgeMesh.LibP2P.Wire;

namespace EdgeMesh.LibP2P.Connections;

/// <summary>multistream-select and delimited messages over a stream. Reads byte by byte where a byte more would belong to
/// somebody else: the stream should have what arrived at hand.</summary>
public static class Negotiation
{
    private const int OutputLimit = 16 * 1024;

    /// <summary>Offers protocols, best first; null if the peer speaks none of them.</summary>
    public static async Task<string?> OfferAsync(Stream stream, IReadOnlyList<string> protocols, CancellationToken cancellationToken)
    {
        using var output = new ByteQueue(OutputLimit);
        using var selection = ProtocolSelection.Dial(protocols, output);
        return await RunAsync(stream, selection, output, cancellationToken);
    }

    /// <summary>Takes the first protocol offered that <paramref name="accepts"/>; null if there was none.</summary>
    public static async Task<string?> AcceptAsync(Stream stream, Func<string, bool> accepts, CancellationToken cancellationToken)
    {
        using var output = new ByteQueue(OutputLimit);
        using var selection = ProtocolSelection.Listen(accepts, output);
        return await RunAsync(stream, selection, output, cancellationToken);
    }

    /// <summary>Reads one delimited message of at most <paramref name="limit"/> bytes, and not a byte more.</summary>
    /// <exception cref="PeerProtocolException">It is longer, or the stream ended within it.</exception>
    public static async Task<byte[]> ReadMessageAsync(Stream stream, int limit, CancellationToken cancellationToken)
    {
        var prefix = new byte[Varint.MaxLength];
        for (var i = 0; ; i++)
        {
            if (i == prefix.Length || await stream.ReadAsync(prefix.AsMemory(i, 1), cancellationToken) == 0)
                throw new PeerProtocolException("a message ended before it was complete");
            if (Varint.Read(prefix.AsSpan(0, i + 1), out var length, out _) != VarintResult.Read)
                continue;
            if (length > (ulong)limit)
                throw new PeerProtocolException($"a message of {length} bytes was announced, the most is {limit}");
            var message = new byte[(int)length];
            if (await stream.ReadAtLeastAsync(message, message.Length, throwOnEndOfStream: false, cancellationToken) < message.Length)
                throw new PeerProtocolException("a message ended before it was complete");
            return message;
        }
    }

    /// <summary>Writes one message with its length in front.</summary>
    public static async Task WriteMessageAsync(Stream stream, ReadOnlyMemory<byte> message, CancellationToken cancellationToken)
    {
        using var queue = new ByteQueue(message.Length + Varint.MaxLength);
        Delimited.Append(queue, message.Span);
        await stream.WriteAsync(queue.Memory, cancellationToken);
    }

    /// <summary>Sends what is in <paramref name="output"/>, the selection's own words in front, and goes on to the end of the
    /// selection; null if there was no agreement.</summary>
    internal static async Task<string?> RunAsync(Stream stream, ProtocolSelection selection, ByteQueue output, CancellationToken cancellationToken)
    {
        var one = new byte[1];
        while (true)
        {
            if (output.Count > 0)
            {
                await stream.WriteAsync(output.Memory, cancellationToken);
                output.Consume(output.Count);
            }

            if (selection.State != SelectionState.Pending)
                return selection.Protocol;
            if (await stream.ReadAsync(one, cancellationToken) == 0)
                throw new PeerProtocolException("the peer closed while the protocol was being negotiated");
            Advance(selection, one);
        }
    }

    private static void Advance(ProtocolSelection selection, ReadOnlySpan<byte> input) => selection.Receive(ref input);
}
