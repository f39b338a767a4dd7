using EdgeMesh.LibP2P.Connections;
using EdgeMesh.LibP2P.Identify;
using EdgeMesh.LibP2P.Relay;
using EdgeMesh.Supervision;
using EdgeMesh.Tunnel.Identity;
using EdgeMesh.Tunnel.Loop;
using Microsoft.Extensions.Logging;

namespace EdgeMesh.Tunnel.Sessions;

/// <summary>What the parts of one node's mesh share.</summary>
internal sealed record MeshContext
{
    private static readonly TimeSpan LongestWait = TimeSpan.FromDays(1);

    internal required MeshOptions Options { get; init; }

    internal required NodeDirectory Directory { get; init; }

    internal required PeerHost Host { get; init; }

    internal required TunnelDriver Driver { get; init; }

    internal required SessionRegistry Sessions { get; init; }

    internal required IdentifyProtocol Identify { get; init; }

    internal required RelayClient RelayClient { get; init; }

    internal required MeshCounters Counters { get; init; }

    internal required MeshFaults Faults { get; init; }

    /// <summary>How often addresses are dialled that nobody vouches for but an answer on the LAN.</summary>
    internal required DialAllowance DiscoveryDials { get; init; }

    /// <summary>Under which everything runs that nobody waits for.</summary>
    internal required Supervisor Supervisor { get; init; }

    internal required ILogger Logger { get; init; }

    internal required TimeProvider Time { get; init; }

    /// <summary>Cancelled when the node stops.</summary>
    internal required CancellationToken Stopping { get; init; }

    /// <summary>Waits, or ends early with false when the node stops or <paramref name="early"/> ends.</summary>
    internal async Task<bool> WaitAsync(TimeSpan time, Task? early = null)
    {
        using var over = CancellationTokenSource.CreateLinkedTokenSource(Stopping);
        // A timer has a longest time; nothing here waits for longer without looking again.
        var waiting = Task.Delay(time < LongestWait ? time : LongestWait, Time, over.Token);
        var whole = await Task.WhenAny(waiting, early ?? waiting) == waiting && waiting.IsCompletedSuccessfully;
        // The timer would stand for its whole time otherwise.
        await over.CancelAsync();
        return whole;
    }
}
