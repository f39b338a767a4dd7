using System.Net.Sockets;
using System.Runtime.ExceptionServices;

namespace EdgeMesh.Testing.Lab;

/// <summary>A named network namespace and one thread that lives in it.
/// A socket belongs to the namespace of the thread that made it, whichever thread uses it afterwards:
/// make it in <see cref="Run{T}"/>, then await on it anywhere.</summary>
/// <remarks>Both sides wait with a monitor, which sleeps at once: what spins before it sleeps takes the processor from what is tested.</remarks>
public sealed class NetworkNamespace : IDisposable
{
    private readonly Queue<Piece> _work = new();
    private readonly Thread _thread;
    private ExceptionDispatchInfo? _enterFailure;
    private bool _isEnding;

    public NetworkNamespace(string name)
    {
        Name = name;
        _thread = new Thread(Work) { IsBackground = true, Name = $"in {name}" };
        _thread.Start();
        // The first piece of work also reports a setns that failed.
        Identity = Run(() => new FileInfo("/proc/thread-self/ns/net").LinkTarget!);
    }

    /// <summary>As <c>ip netns</c> knows it.</summary>
    public string Name { get; }

    /// <summary>As the kernel knows it: what <c>/proc/PID/ns/net</c> of each process inside leads to.</summary>
    public string Identity { get; }

    /// <summary>Runs <paramref name="action"/> on the thread inside and waits for it. It must be short: others wait behind it.</summary>
    public T Run<T>(Func<T> action)
    {
        T result = default!;
        var piece = new Piece(() =>
        {
            _enterFailure?.Throw();
            result = action();
        });
        lock (_work)
        {
            ObjectDisposedException.ThrowIf(_isEnding, this);
            _work.Enqueue(piece);
            Monitor.Pulse(_work);
        }

        if (!piece.Wait(TimeSpan.FromSeconds(30).Here()))
            throw new TimeoutException($"The thread in namespace {Name} did not finish a piece of work within 30 s.");
        return result;
    }

    public void Run(Action action) => Run(() =>
    {
        action();
        return true;
    });

    public Socket NewSocket(AddressFamily family, SocketType type) =>
        Run(() => new Socket(family, type, type == SocketType.Stream ? ProtocolType.Tcp : ProtocolType.Udp));

    /// <param name="key">Below net, with slashes: <c>ipv4/ip_forward</c>. /proc/sys/net shows the calling thread's namespace.</param>
    public void SetSysctl(string key, string value) => Run(() => File.WriteAllText($"/proc/sys/net/{key}", value));

    public void Dispose()
    {
        lock (_work)
        {
            _isEnding = true;
            Monitor.Pulse(_work);
        }

        _thread.Join(TimeSpan.FromSeconds(30));
    }

    private void Work()
    {
        try
        {
            using var file = File.OpenHandle($"/run/netns/{Name}", FileMode.Open, FileAccess.Read, FileShare.ReadWrite);
            NamespaceCalls.EnterNetwork(file);
        }
        catch (Exception e)
        {
            _enterFailure = ExceptionDispatchInfo.Capture(e);
        }

        while (Next() is { } piece)
            piece.Do();
    }

    /// <returns>Null: it ends, and all is done.</returns>
    private Piece? Next()
    {
        lock (_work)
        {
            while (_work.Count == 0)
            {
                if (_isEnding)
                    return null;
                Monitor.Wait(_work);
            }

            return _work.Dequeue();
        }
    }

    private sealed class Piece(Action action)
    {
        private readonly object _lock = new();
        private ExceptionDispatchInfo? _failure;
        private bool _isDone;

        public void Do()
        {
            try
            {
                action();
            }
            catch (Exception e)
            {
                _failure = ExceptionDispatchInfo.Capture(e);
            }

            lock (_lock)
            {
                _isDone = true;
                Monitor.Pulse(_lock);
            }
        }

        /// <summary>Throws what the action threw.</summary>
        /// <returns>False: it was not done in time.</returns>
        public bool Wait(TimeSpan deadline)
        {
            lock (_lock)
            {
                if (!_isDone)
                    Monitor.Wait(_lock, deadline);
                if (!_isDone)
                    return false;
            }

            _failure?.Throw();
            return true;
        }
    }
}
