namespace EdgeMesh.Linux.Sockets;

/// <summary>A kernel pipe that <see cref="TcpSocket.SpliceIn"/> fills and <see cref="TcpSocket.SpliceOut"/> empties. Not thread-safe.</summary>
public sealed unsafe class Pipe : IDisposable
{
    private const int O_NONBLOCK_CLOEXEC = 0x800 | 0x80000;
    private const int F_SETPIPE_SZ = 1031;
    private const int F_GETPIPE_SZ = 1032;

    private Pipe(int readEnd, int writeEnd, int capacity)
    {
        ReadEnd = readEnd;
        WriteEnd = writeEnd;
        Capacity = capacity;
    }

    internal int ReadEnd { get; private set; }

    internal int WriteEnd { get; private set; }

    /// <summary>Bytes, as the kernel granted them.</summary>
    public int Capacity { get; }

    /// <summary>Null when no descriptor is left. The kernel may grant less than <paramref name="capacity"/>:
    /// without CAP_SYS_RESOURCE all pipes of a user share fs.pipe-user-pages-soft.</summary>
    /// <param name="capacity">Wanted size in bytes.</param>
    public static Pipe? TryCreate(int capacity)
    {
        var ends = stackalloc int[2];
        if (Libc.pipe2(ends, O_NONBLOCK_CLOEXEC) < 0)
            return null;
        var granted = Libc.fcntl(ends[1], F_SETPIPE_SZ, capacity);
        if (granted < 0)
            granted = Libc.fcntl(ends[1], F_GETPIPE_SZ, 0);
        return new Pipe(ends[0], ends[1], Math.Max(granted, 4096));
    }

    public void Dispose()
    {
        if (ReadEnd < 0)
            return;
        _ = Libc.close(ReadEnd);
        _ = Libc.close(WriteEnd);
        ReadEnd = WriteEnd = -1;
    }
}
