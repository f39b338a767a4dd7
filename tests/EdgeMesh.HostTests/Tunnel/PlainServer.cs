using System.Runtime.InteropServices;
using EdgeMesh.Linux;
using EdgeMesh.Linux.Sockets;
using EdgeMesh.Net;
using EdgeMesh.Testing.Lab;

namespace EdgeMesh.HostTests.Tunnel;

/// <summary>What any server spends on a connection that it does not want: it waits, accepts, looks at what was sent and closes, as
/// each one comes, by the same calls as the agent. What that costs on this machine at this moment is the measure for the agent.</summary>
internal sealed partial class PlainServer : IDisposable
{
    public const int Port = 20_099;

    private readonly NetworkNamespace _thread;
    private readonly TcpListenSocket _listener;

    public PlainServer(string space)
    {
        _thread = new NetworkNamespace(space);
        _listener = _thread.Run(() => TcpListenSocket.Open(InetEndpoint.Parse($"0.0.0.0:{Port}"), 4_096, new PeerWatch()));
        TcpSocket.DeferAccept(_listener.Descriptor, 1);
    }

    /// <summary>Serves until told, for less than half a minute, and says what each one cost.</summary>
    public Task<TimeSpan> ServeAsync(CancellationToken enough) => Task.Run(() => _thread.Run(() => Serve(enough)), CancellationToken.None);

    private unsafe TimeSpan Serve(CancellationToken enough)
    {
        using var epoll = new Epoll(16);
        epoll.Add(_listener.Descriptor, EpollEvents.In, 1);
        Span<byte> buffer = stackalloc byte[256];
        var served = 0L;
        var before = ThreadTime();
        fixed (byte* start = buffer)
        {
            while (!enough.IsCancellationRequested)
            {
                if (epoll.Wait(50) == 0)
                    continue;
                for (int descriptor; (descriptor = TcpSocket.Accept(_listener.Descriptor, out _)) >= 0; served++)
                {
                    _ = TcpSocket.Peek(descriptor, start, buffer.Length);
                    TcpSocket.Close(descriptor);
                }
            }
        }

        return (ThreadTime() - before) / Math.Max(1, served);
    }

    /// <summary>CLOCK_THREAD_CPUTIME_ID.</summary>
    private static unsafe TimeSpan ThreadTime()
    {
        const int CLOCK_THREAD_CPUTIME_ID = 3;
        var time = stackalloc long[2];
        return GetTime(CLOCK_THREAD_CPUTIME_ID, time) == 0
            ? TimeSpan.FromSeconds(time[0]) + TimeSpan.FromMicroseconds(time[1] / 1_000.0)
            : throw new InvalidOperationException("clock_gettime(2) does not tell a thread's time");
    }

    [LibraryImport("libc", EntryPoint = "clock_gettime")]
    private static unsafe partial int GetTime(int clock, long* time);

    public void Dispose()
    {
        _listener.Dispose();
        _thread.Dispose();
    }
}
