using EdgeMesh.Linux.Sockets;

namespace EdgeMesh.Forwarding;

/// <summary>Buffers and pipes that one loop lends to flows with bytes in flight. One thread.</summary>
internal sealed class RelayResources(int pipeSize, int mostPipes) : IDisposable
{
    /// <summary>A read that fills this much is taken as the start of a large transfer.</summary>
    public const int BufferSize = 16 * 1024;

    private const int KeptBuffers = 64;

    private readonly Stack<byte[]> _buffers = new();
    private readonly Stack<Pipe> _pipes = new();

    public int PipesLent { get; private set; }

    public byte[] RentBuffer() => _buffers.TryPop(out var buffer) ? buffer : GC.AllocateUninitializedArray<byte>(BufferSize);

    public void Return(byte[] buffer)
    {
        if (_buffers.Count < KeptBuffers)
            _buffers.Push(buffer);
    }

    /// <summary>Null when all are lent or no descriptor is left: the flow then copies.</summary>
    public Pipe? TryRentPipe()
    {
        if (PipesLent == mostPipes)
            return null;
        if (!_pipes.TryPop(out var pipe))
            pipe = Pipe.TryCreate(pipeSize);
        if (pipe is not null)
            PipesLent++;
        return pipe;
    }

    /// <param name="isEmpty">A pipe with bytes left of a connection that was reset is of no use to another.</param>
    public void Return(Pipe pipe, bool isEmpty)
    {
        PipesLent--;
        if (isEmpty)
            _pipes.Push(pipe);
        else
            pipe.Dispose();
    }

    public void Dispose()
    {
        while (_pipes.TryPop(out var pipe))
            pipe.Dispose();
    }
}
