using System.Collections.Concurrent;
using System.Net.Sockets;
using System.Runtime.ExceptionServices;

namespace EdgeMesh.Testing.Lab;

/// <summary>A named network namespace and one thread that lives in it.
/// A socket belongs to the namespace of the thread that made it, whichever thread uses it afterwards:
/// make it in <see cref="Run{T}"/>, then await on it anywhere.</summary>
public sealed class NetworkNamespace : IDisposable
{
    private readonly BlockingCollection<Action> _work = [];
    private readonly Thread _thread;

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
        ExceptionDispatchInfo? failure = null;
        using var done = new ManualResetEventSlim();
        _work.Add(() =>
        {
            try
            {
                if (_enterFailure is { } refused)
                    refused.Throw();
                result = action();
            }
            catch (Exception e)
            {
                failure = ExceptionDispatchInfo.Capture(e);
            }
            finally
            {
                done.Set();
            }
        });
        if (!done.Wait(TimeSpan.FromSeconds(30).Here()))
            throw new TimeoutException($"The thread in namespace {Name} did not finish a piece of work within 30 s.");
        failure?.Throw();
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
        if (_work.IsAddingCompleted)
            return;
        _work.CompleteAdding();
        _thread.Join(TimeSpan.FromSeconds(30));
        _work.Dispose();
    }

    private ExceptionDispatchInfo? _enterFailure;

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

        foreach (var piece in _work.GetConsumingEnumerable())
            piece();
    }
}
