using System.Buffers;
using System.Security.Cryptography;
using EdgeMesh.LibP2P.Connections;

namespace EdgeMesh.LibP2P.PrivateNetwork;

/// <summary>A connection inside a private network: each side sends a nonce of 24 bytes, then everything is under XSalsa20.
/// Peers without the key read noise, and what they send reads as noise here. Owns the inner stream.</summary>
public sealed class PrivateNetworkStream : AsyncOnlyStream
{
    private const int Chunk = 64 * 1024;

    private readonly Stream _inner;
    private readonly XSalsa20 _outgoing;
    private readonly XSalsa20 _incoming;

    private PrivateNetworkStream(Stream inner, XSalsa20 outgoing, XSalsa20 incoming)
    {
        _inner = inner;
        _outgoing = outgoing;
        _incoming = incoming;
    }

    /// <summary>Exchanges the nonces.</summary>
    /// <exception cref="PeerProtocolException">The peer closed instead.</exception>
    public static async Task<PrivateNetworkStream> JoinAsync(Stream inner, PreSharedKey key, CancellationToken cancellationToken)
    {
        var mine = RandomNumberGenerator.GetBytes(XSalsa20.NonceSize);
        await inner.WriteAsync(mine, cancellationToken);
        var theirs = new byte[XSalsa20.NonceSize];
        if (await inner.ReadAtLeastAsync(theirs, theirs.Length, throwOnEndOfStream: false, cancellationToken) < theirs.Length)
            throw new PeerProtocolException("the peer closed the connection before it had sent its nonce: it may be in no private network");
        return new PrivateNetworkStream(inner, new XSalsa20(key.Key, mine), new XSalsa20(key.Key, theirs));
    }

    public override async ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default)
    {
        var count = await _inner.ReadAsync(buffer, cancellationToken);
        _incoming.Transform(buffer.Span[..count]);
        return count;
    }

    public override async ValueTask WriteAsync(ReadOnlyMemory<byte> buffer, CancellationToken cancellationToken = default)
    {
        var chunk = ArrayPool<byte>.Shared.Rent(Math.Min(buffer.Length, Chunk));
        try
        {
            while (!buffer.IsEmpty)
            {
                var count = Math.Min(buffer.Length, chunk.Length);
                buffer[..count].CopyTo(chunk);
                _outgoing.Transform(chunk.AsSpan(0, count));
                buffer = buffer[count..];
                await _inner.WriteAsync(chunk.AsMemory(0, count), cancellationToken);
            }
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(chunk);
        }
    }

    public override Task FlushAsync(CancellationToken cancellationToken) => _inner.FlushAsync(cancellationToken);

    protected override void Dispose(bool disposing)
    {
        if (disposing)
            _inner.Dispose();
        base.Dispose(disposing);
    }
}
