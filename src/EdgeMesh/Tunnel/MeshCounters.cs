using System.Collections.Concurrent;
using System.Collections.Immutable;
using EdgeMesh.Catalog;
using EdgeMesh.Net;
using EdgeMesh.Tunnel.Admission;
using EdgeMesh.Tunnel.Loop;
using EdgeMesh.Tunnel.Proxy;

namespace EdgeMesh.Tunnel;

/// <summary>What the mesh has seen since it started. Written from any thread.</summary>
internal sealed class MeshCounters(TunnelLoop loop)
{
    private const int MaxServices = 16_384;

    private readonly long[] _refusedIn = new long[Enum.GetValues<AnswerCode>().Length];
    private readonly long[] _refusedOut = new long[Enum.GetValues<TunnelRefusal>().Length];
    private readonly ConcurrentDictionary<ServicePortName, ServiceTally> _services = new();
    private long _served;
    private long _carried;
    private long _strangers;
    private long _paced;

    internal long Served => Volatile.Read(ref _served);

    internal long Carried => Volatile.Read(ref _carried);

    internal long Sent => loop.BytesOut;

    internal long Received => loop.BytesIn;

    internal long DatagramsDropped => loop.DatagramsDropped;

    /// <summary>What was decided before a handshake.</summary>
    internal AdmissionCounts Door { get; } = new();

    internal long Paced => Volatile.Read(ref _paced);

    internal long Strangers => Volatile.Read(ref _strangers) + Door.AllRefused;

    internal ImmutableSortedDictionary<string, long> RefusedIn =>
        Enum.GetValues<AnswerCode>().Where(c => c != AnswerCode.Ok).ToImmutableSortedDictionary(c => c.ToString(), c => Volatile.Read(ref _refusedIn[(int)c]), StringComparer.Ordinal);

    internal ImmutableSortedDictionary<string, long> RefusedOut =>
        Enum.GetValues<TunnelRefusal>().ToImmutableSortedDictionary(r => r.ToString(), r => Volatile.Read(ref _refusedOut[(int)r]), StringComparer.Ordinal);

    internal ImmutableArray<TunnelServiceCounts> Services => [.. _services.Select(s => s.Value.Read(s.Key)).OrderBy(s => s.Service.ToString(), StringComparer.Ordinal)];

    internal void CountServed() => Interlocked.Increment(ref _served);

    internal void CountCarried() => Interlocked.Increment(ref _carried);

    internal void CountPaced() => Interlocked.Increment(ref _paced);

    internal void CountStranger() => Interlocked.Increment(ref _strangers);

    internal void CountRefusedIn(AnswerCode code) => Interlocked.Increment(ref _refusedIn[(int)code]);

    internal void CountRefusedOut(TunnelRefusal refusal) => Interlocked.Increment(ref _refusedOut[(int)refusal]);

    /// <summary>The counters of one service. Services come from this node's catalog; beyond the bound they share one tally.</summary>
    internal ServiceTally Of(ServicePortName service) =>
        _services.TryGetValue(service, out var tally) ? tally
        : _services.GetOrAdd(_services.Count < MaxServices ? service : new ServicePortName("", "others", "", TransportProtocol.Tcp), static _ => new ServiceTally());
}

/// <summary>What one service has had over the tunnel, as its clients' node sees it.</summary>
internal sealed class ServiceTally
{
    private long _connections;
    private long _active;
    private long _failed;
    private long _toEndpoints;
    private long _toClients;

    internal void Begun()
    {
        Interlocked.Increment(ref _connections);
        Interlocked.Increment(ref _active);
    }

    internal void Ended(TunnelOutcome outcome)
    {
        Interlocked.Decrement(ref _active);
        Interlocked.Add(ref _toEndpoints, outcome.BytesToEndpoint);
        Interlocked.Add(ref _toClients, outcome.BytesToClient);
        if (outcome.End is TunnelEnd.Refused or TunnelEnd.SessionLost)
            Interlocked.Increment(ref _failed);
    }

    internal TunnelServiceCounts Read(ServicePortName service) => new(
        service, Volatile.Read(ref _connections), Volatile.Read(ref _active), Volatile.Read(ref _failed), Volatile.Read(ref _toEndpoints), Volatile.Read(ref _toClients));
}
