using EdgeMesh.Balancing;
using EdgeMesh.Linux;
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

    /// <exception cref="IOException">A listener cannot be opened; nothing is left behind.</exception>
    public static UdpForwarder Start(UdpForwarderOptions options, RouteTable routes, TimeProvider clock, ILogger<UdpForwarder> logger, Supervisor? supervisor = null)
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
                loops.Add(new UdpLoop(listener, options, affinities, routes, clock, logger, supervisor));
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

    /// <summary>Lets the successor have all datagrams of clients at once, carries answers that are on their way for half a
    /// second, and ends. The successor asks conntrack where each flow was going, so no flow is lost; it may get another
    /// endpoint.</summary>
    public async Task HandOverAsync(TimeProvider clock)
    {
        foreach (var loop in _loops)
            loop.SteerToSuccessor();
        await Task.Delay(AnswerLinger, clock).ConfigureAwait(false);
        await DisposeAsync().ConfigureAwait(false);
    }

    /// <summary>A successor may bind beside from now on, and gets no datagram before <see cref="HandOverAsync"/>.</summary>
    public void LetSuccessorBind()
    {
        foreach (var loop in _loops)
            loop.LetSuccessorBind();
    }

    /// <summary>Nobody gets a place beside this process's sockets. Ends the steering too that <see cref="LetSuccessorBind"/> or the
    /// predecessor's <see cref="HandOverAsync"/> left behind.</summary>
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
