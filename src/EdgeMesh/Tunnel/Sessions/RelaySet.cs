using System.Collections.Immutable;
using EdgeMesh.LibP2P.Relay;
using Microsoft.Extensions.Logging;

namespace EdgeMesh.Tunnel.Sessions;

/// <summary>The relays of this node: a session and a reservation with each, the nearest first.</summary>
internal sealed class RelaySet
{
    private volatile RelayPlace[] _places = [];

    internal IReadOnlyList<RelayPlace> Places => _places;

    internal void Set(IEnumerable<RelayPlace> places) => _places = [.. places];

    /// <summary>Whether anybody could be found through a relay now.</summary>
    internal bool IsAnyConnected
    {
        get
        {
            foreach (var place in _places)
            {
                if (place.Session is not null)
                    return true;
            }

            return false;
        }
    }

    /// <summary>Sessions to relays by measured round trip.</summary>
    internal ImmutableArray<MeshSession> Nearest() =>
        [.. Places.Select(p => p.Session).OfType<MeshSession>().OrderBy(s => s.Connection.RoundTrip ?? TimeSpan.MaxValue)];
}

/// <summary>One relay: its link, and the place that this node holds there, which is renewed at half of its time.</summary>
internal sealed partial class RelayPlace(PeerLink link, MeshContext mesh, Action arrived)
{
    private static readonly TimeSpan LeastRenewal = TimeSpan.FromSeconds(10);
    private static readonly TimeSpan AfterRefusal = TimeSpan.FromSeconds(5);

    private long _reservedTicks;
    private readonly TaskCompletionSource _removed = new(TaskCreationOptions.RunContinuationsAsynchronously);

    internal PeerLink Link => link;

    /// <summary>A direct session to a node that says it is a relay.</summary>
    internal MeshSession? Session => link.Best is { IsDirect: true, Hello.IsRelay: true } session ? session : null;

    /// <summary>Until when this node can be found there, by its own clock; for people.</summary>
    internal DateTimeOffset? Reserved
    {
        get => Volatile.Read(ref _reservedTicks) is not 0 and var ticks ? new DateTimeOffset(ticks, TimeSpan.Zero) : null;
        private set => Volatile.Write(ref _reservedTicks, value?.UtcTicks ?? 0);
    }

    internal string LastFault { get; private set; } = "";

    internal void Remove() => _removed.TrySetResult();

    internal async Task RunAsync()
    {
        var refused = false;
        while (!mesh.Stopping.IsCancellationRequested && !_removed.Task.IsCompleted)
        {
            var changed = link.Changed.Next;
            if (Session is not { } session)
            {
                Reserved = null;
                if (link.Best is { IsDirect: true } && !refused)
                {
                    refused = true;
                    LogNoRelay(mesh.Logger, link.Name);
                }

                await mesh.WaitAsync(AfterRefusal, Task.WhenAny(changed, _removed.Task));
                continue;
            }

            refused = false;
            var wait = AfterRefusal;
            try
            {
                var reservation = await mesh.RelayClient.ReserveAsync(session.Connection, mesh.Stopping);
                var now = mesh.Time.GetUtcNow();
                if (Reserved is null)
                    LogReserved(mesh.Logger, link.Name);
                var lasts = reservation.Lasts(now);
                Reserved = now + lasts;
                LastFault = "";
                wait = lasts / 2;
                arrived();
            }
            catch (Exception e) when (e is IOException or TimeoutException or OperationCanceledException)
            {
                Reserved = null;
                LastFault = PeerFault.Of(e);
                LogNotReserved(mesh.Logger, link.Name, LastFault);
            }

            await mesh.WaitAsync(wait < AfterRefusal ? LeastRenewal : wait, Task.WhenAny(session.Connection.Closed, _removed.Task));
        }
    }

    [LoggerMessage(6020, LogLevel.Information, "Other nodes can reach this one through {Relay}.")]
    private static partial void LogReserved(ILogger logger, string relay);

    [LoggerMessage(6021, LogLevel.Debug, "{Relay} gave no reservation: {Reason}.")]
    private static partial void LogNotReserved(ILogger logger, string relay, string reason);

    [LoggerMessage(6022, LogLevel.Warning, "{Relay} is configured as a relay here, but does not say that it is one. List it in its own modules.edgeTunnel.relayNodes, or remove it from this node's.")]
    private static partial void LogNoRelay(ILogger logger, string relay);
}
