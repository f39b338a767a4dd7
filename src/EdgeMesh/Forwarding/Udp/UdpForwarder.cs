using System.Collections.Immutable;
using EdgeMesh.Balancing;
using EdgeMesh.Linux;
using EdgeMesh.Linux.Sockets;
using EdgeMesh.Supervision;
using Microsoft.Extensions.Logging;

namespace EdgeMesh.Forwarding.Udp;

/// <summary>The UDP part of the user-mode path: Start, Use a new table whenever routes change, and at the end
/// StopAccepting, Drain, Dispose.</summary>
public sealed class UdpForwarder : IAsyncDisposable
{
    private static readonly TimeSpan AnswerLinger = TimeSpan.FromMilliseconds(500);

    private readonly UdpLoop[] _loops;

    private UdpForwarder(UdpLoop[] loops) => _loops = loops;

    /// <param name="inherited">Where it has a socket for a listener, that one is taken, and nothing is received there before
    /// <see cref="Receive"/>: the other process has it too.</param>
    /// <exception cref="IOException">A listener cannot be opened; nothing is left behind.</exception>
    public static UdpForwarder Start(UdpForwarderOptions options, RouteTable routes, TimeProvider clock, ILogger<UdpForwarder> logger, Supervisor? supervisor = null, InheritedSockets? inherited = null)
    {
        ArgumentNullException.ThrowIfNull(options);
        if (options.Listeners.IsDefaultOrEmpty)
            throw new ArgumentException("At least one listener is needed.", nameof(options));
        if (options.MaxFlows < 1)
            throw new ArgumentException("At least one flow has to be allowed.", nameof(options));
        var affinities = new AffinityTables();
        var loops = new List<UdpLoop>();
        try
        {
            foreach (var listener in options.Listeners)
                loops.Add(new UdpLoop(listener, inherited?.TakeDatagrams(listener), options, affinities, routes, clock, logger, supervisor));
        }
        catch
        {
            foreach (var loop in loops)
                loop.Dispose();
            throw;
        }

        foreach (var loop in loops)
            loop.Start();
        return new UdpForwarder([.. loops]);
    }

    /// <summary>Swaps the routes. Flows whose endpoint is no longer in its route close; the client's next datagram opens a new one.</summary>
    public void Use(RouteTable routes)
    {
        foreach (var loop in _loops)
            loop.Use(routes);
    }

    /// <summary>From now on no flow is opened; those that stand go on. Where the rules have been withdrawn, delete the
    /// listener's conntrack entries as well, so that clients with a flow reach kube-proxy with their next datagram.</summary>
    public void StopAccepting()
    {
        foreach (var loop in _loops)
            loop.StopAccepting();
    }

    /// <summary>Stops accepting and waits until no flow has had a datagram for a second, or until the deadline, and ends.</summary>
    /// <returns>True when every flow ended by itself.</returns>
    public async Task<bool> DrainAsync(TimeSpan deadline, TimeProvider clock)
    {
        StopAccepting();
        var drained = true;
        try
        {
            await Task.WhenAll(_loops.Select(loop => loop.Drained)).WaitAsync(deadline, clock).ConfigureAwait(false);
        }
        catch (TimeoutException)
        {
            drained = false;
        }

        await DisposeAsync().ConfigureAwait(false);
        return drained;
    }

    /// <summary>Begins to receive where <see cref="Start"/> inherited sockets.</summary>
    public void Receive()
    {
        foreach (var loop in _loops)
            loop.Receive(true);
    }

    /// <summary>Descriptors of its listeners, for <see cref="InheritedSockets"/> of another process. Each is the caller's to close.</summary>
    public ImmutableArray<DescriptorHandle> Copies() => [.. _loops.Select(loop => loop.Copy()).OfType<DescriptorHandle>()];

    /// <summary>Leaves all datagrams of clients at once to the successor, which has the same sockets, carries answers that are on their
    /// way for half a second, and ends. The successor asks conntrack where each flow was going, so no flow is lost; it may get another
    /// endpoint.</summary>
    public async Task HandOverAsync(TimeProvider clock)
    {
        foreach (var loop in _loops)
            loop.Receive(false);
        await Task.Delay(AnswerLinger, clock).ConfigureAwait(false);
        await DisposeAsync().ConfigureAwait(false);
    }

    /// <summary>Nobody gets a place beside this process's sockets. Ends the steering too that a predecessor left behind.</summary>
    /// <returns>How many are bound there besides, who came before this.</returns>
    public int KeepForItself() => _loops.Sum(loop => loop.KeepForItself());

    public UdpStatistics Statistics() => UdpCounters.Sum([.. _loops.Select(loop => loop.Counters)]);

    /// <summary>Per service port, summed over the loops.</summary>
    public IReadOnlyList<UdpServiceStatistics> ServiceStatistics() =>
    [
        .. _loops.SelectMany(loop => loop.Services).GroupBy(service => service.Name).Select(same => new UdpServiceStatistics(
            same.Key,
            same.Sum(s => Volatile.Read(ref s.Flows)),
            same.Sum(s => Volatile.Read(ref s.Active)),
            same.Sum(s => Volatile.Read(ref s.Failed)),
            same.Sum(s => Volatile.Read(ref s.BytesToEndpoints)),
            same.Sum(s => Volatile.Read(ref s.BytesToClients)))),
    ];

    public async ValueTask DisposeAsync()
    {
        foreach (var loop in _loops)
            loop.Stop();
        await Task.WhenAll(_loops.Select(loop => loop.Ended)).ConfigureAwait(false);
    }
}
