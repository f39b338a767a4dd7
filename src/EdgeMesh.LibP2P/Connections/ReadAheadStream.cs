using EdgeMesh.LibP2P.Wire;

namespace EdgeMesh.LibP2P.Connections;

/// <summary>Makes small reads cheap: negotiation takes single bytes, because what follows the last one belongs to another
/// protocol. Writes go straight through. Owns the inner stream.</summary>
internal sealed class ReadAheadStream(Stream inner) : AsyncOnlyStream
{
    private const int Ahead = 4096;

    private readonly ByteQueue _ahead = new(Ahead);

    internal Stream Inner => inner;

    /// <summary>Gives away what was read ahead, for whoever reads the inner stream from now on.</summary>
    internal byte[] TakeAhead()
    {
        var ahead = _ahead.Data.ToArray();
        _ahead.Dispose();
        return ahead;
    }

    public override async ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default)
    {
        if (_ahead.Count == 0)
        {
            if (buffer.Length >= Ahead)
                return await inner.ReadAsync(buffer, cancellationToken);
            var chunk = new byte[Ahead];
            var count = await inner.ReadAsync(chunk, cancellationToken);
            _ahead.Append(chunk.AsSpan(0, count));
        }

        return _ahead.Take(buffer.Span);
    }

    public override ValueTask WriteAsync(ReadOnlyMemory<byte> buffer, CancellationToken cancellationToken = default) =>
        inner.WriteAsync(buffer, cancellationToken);

    public override Task FlushAsync(CancellationToken cancellationToken) => inner.FlushAsync(cancellationToken);

    protected override void Dispose(bool disposing)
    {
        if (disposing)
            inner.Dispose();
        base.Dispose(disposing);
    }
}
