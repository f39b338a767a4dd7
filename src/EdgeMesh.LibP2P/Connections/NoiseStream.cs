using EdgeMesh.LibP2P.Admission;
using EdgeMesh.LibP2P.Noise;
using EdgeMesh.LibP2P.Wire;

namespace EdgeMesh.LibP2P.Connections;

/// <summary>A <see cref="NoiseSession"/> driven over a stream, one reader and one writer at a time. Owns the inner stream.</summary>
internal sealed class NoiseStream(Stream inner, NoiseSession session) : AsyncOnlyStream
{
    private const int Chunk = 64 * 1024;

    private readonly ByteQueue _plain = new(4 * Chunk);
    private byte[] _arrived = new byte[Chunk];
    private int _arrivedStart;
    private int _arrivedEnd;

    internal NoiseSession Session => session;

    /// <summary>What the messages travel over.</summary>
    internal Stream Transport => inner is ReadAheadStream ahead ? ahead.Inner : inner;

    /// <summary>Gives away what has arrived and was not read: decrypted, and as it came. Nothing may be read here afterwards.</summary>
    internal (byte[] Plain, byte[] Sealed) TakeAhead()
    {
        var plain = _plain.Data.ToArray();
        _plain.Dispose();
        byte[] arrived = [.. session.TakePartial(), .. _arrived.AsSpan(_arrivedStart.._arrivedEnd), .. inner is ReadAheadStream ahead ? ahead.TakeAhead() : []];
        _arrivedStart = _arrivedEnd = 0;
        // The session may live for months, and this stream with it.
        _arrived = [];
        return (plain, arrived);
    }

    /// <summary>Runs the handshake to its end.</summary>
    internal async Task HandshakeAsync(CancellationToken cancellationToken)
    {
        await SendAsync(cancellationToken);
        while (!session.IsEstablished)
        {
            if (!await ReceiveAsync(cancellationToken))
                throw session.AwaitsIdentity ? new IdentityRefusedException() : Closed();
            await SendAsync(cancellationToken);
        }
    }

    private PeerProtocolException Closed()
    {
        var fault = new PeerProtocolException("the peer closed the connection during the Noise handshake");
        return session.AwaitsAdmission ? new ProofRefusedException(fault) : fault;
    }

    public override async ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default)
    {
        while (_plain.Count == 0)
        {
            if (!await ReceiveAsync(cancellationToken))
                return 0;
        }

        return _plain.Take(buffer.Span);
    }

    public override async ValueTask WriteAsync(ReadOnlyMemory<byte> buffer, CancellationToken cancellationToken = default)
    {
        while (!buffer.IsEmpty)
        {
            var count = Math.Min(buffer.Length, 2 * NoiseSession.MaxPlain);
            session.Send(buffer.Span[..count]);
            buffer = buffer[count..];
            await SendAsync(cancellationToken);
        }
    }

    private async ValueTask SendAsync(CancellationToken cancellationToken)
    {
        if (session.Output.Count == 0)
            return;
        await inner.WriteAsync(session.Output.Memory, cancellationToken);
        session.Output.Consume(session.Output.Count);
    }

    private async ValueTask<bool> ReceiveAsync(CancellationToken cancellationToken)
    {
        if (_arrivedStart == _arrivedEnd)
        {
            _arrivedStart = 0;
            _arrivedEnd = await inner.ReadAsync(_arrived, cancellationToken);
            if (_arrivedEnd == 0)
                return false;
        }

        ReadOnlySpan<byte> input = _arrived.AsSpan(_arrivedStart.._arrivedEnd);
        session.Receive(ref input, _plain);
        _arrivedStart = _arrivedEnd - input.Length;
        return true;
    }

    protected override void Dispose(bool disposing)
    {
        if (disposing)
        {
            session.Dispose();
            inner.Dispose();
        }

        base.Dispose(disposing);
    }
}
