using System.Collections.Immutable;
using System.Net;
using EdgeMesh.LibP2P.Addresses;
using EdgeMesh.LibP2P.Admission;
using EdgeMesh.LibP2P.Connections;
using EdgeMesh.LibP2P.Relay;
using EdgeMesh.Net;
using Microsoft.Extensions.Logging;

namespace EdgeMesh.Tunnel.Sessions;

internal sealed partial class PeerLink
{
    /// <summary>A way through a relay is tried when the direct one has not answered for so long.</summary>
    private static readonly TimeSpan HeadStart = TimeSpan.FromMilliseconds(300);

    private static readonly TimeSpan Shortest = TimeSpan.FromMilliseconds(100);

    /// <summary>However often a node that does not answer is asked for.</summary>
    private static readonly TimeSpan LongestWhenNeeded = TimeSpan.FromSeconds(1);

    private static readonly TimeSpan LongestWithoutHope = TimeSpan.FromSeconds(30);

    /// <summary>A listener that is just going away closes a connection too; one that means it does so again and again.</summary>
    private const int RefusedProofsToTell = 3;

    private int _refusedProofs;

    /// <summary>Dials for as long as the node runs and the link is not idle. Once at a time.</summary>
    internal void Start()
    {
        lock (_gate)
        {
            if (_running)
                return;
            _running = true;
        }

        _mesh.Supervisor.StartLoop("peer-link", _ => RunAsync(), _mesh.Stopping);
    }

    private async Task RunAsync()
    {
        var backOff = new BackOff();
        while (_running && !_mesh.Stopping.IsCancellationRequested)
        {
            var (woken, needed) = (_wake.Next, _need.Next);
            if (Best is { IsDirect: true } || !(IsWanted || Best is not null))
            {
                backOff.Succeeded();
                await _mesh.WaitAsync(LongestWithoutHope, Task.WhenAny(woken, needed));
                continue;
            }

            await TryAsync();
            if (Best is { IsDirect: true })
                continue;
            var longest = IsRelay || (_stoodAt != 0 && _mesh.Time.GetElapsedTime(_stoodAt) < NeededFor) ? _mesh.Options.LongestBackOff : LongestWithoutHope;
            if (Best is null)
            {
                Volatile.Write(ref _notFoundAt, _mesh.Time.GetTimestamp());
                Interlocked.Increment(ref _failedRounds);
                Changed.Tell();
            }

            var pause = backOff.AfterFailure(longest);
            var least = pause < LongestWhenNeeded ? pause : LongestWhenNeeded;
            if (await _mesh.WaitAsync(least, woken))
                await _mesh.WaitAsync(pause - least, Task.WhenAny(woken, needed));
            await _mesh.WaitAsync(Shortest);
        }
    }

    private async Task TryAsync()
    {
        using var round = CancellationTokenSource.CreateLinkedTokenSource(_mesh.Stopping);
        var direct = TryAddressesAsync(round.Token);
        // Relays behind relays are refused: one that cannot be reached directly is none for this node.
        if (Best is null && !IsRelay)
        {
            await _mesh.WaitAsync(HeadStart, direct);
            if (Best is null)
                await TryRelaysAsync(round.Token);
        }

        await direct;
    }

    private ImmutableArray<IPEndPoint> Addresses()
    {
        var announced = (Hello?.Addresses ?? []).Select(a => a.TryGetTcpEndPoint(out var endPoint) && !a.IsRelayed ? endPoint : null).OfType<IPEndPoint>();
        var told = announced.Where(e => AnnouncedAddress.IsDialable(InetEndpoint.From(e), _mesh.Options));
        return [.. _configured.Concat(told).Take(MaxAddresses).Concat(NextDiscovered().Select(e => e.ToIPEndPoint())).Distinct()];
    }

    /// <summary>Some of them each time, and no more of all nodes together than the allowance is.</summary>
    private ImmutableArray<InetEndpoint> NextDiscovered()
    {
        lock (_gate)
            return _discovered.Next(_mesh.DiscoveryDials.Take(Math.Min(_discovered.Count, MaxDiscoveredAtOnce)));
    }

    private async Task TryAddressesAsync(CancellationToken cancellationToken)
    {
        using var first = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        var tries = Addresses().Select(a => TryAddressAsync(a, first.Token)).ToList();
        while (tries.Count > 0)
        {
            var done = await Task.WhenAny(tries);
            tries.Remove(done);
            // The others are let go: one session is enough.
            if (await done)
                await first.CancelAsync();
        }
    }

    private async Task<bool> TryAddressAsync(IPEndPoint endPoint, CancellationToken cancellationToken)
    {
        var address = Multiaddr.FromEndPoint(endPoint);
        var isConfigured = _configured.Contains(endPoint);
        try
        {
            var connection = await DialAsync(address, isConfigured, cancellationToken);
            _refusedProofs = isConfigured ? 0 : _refusedProofs;
            return await GreetAsync(connection, cancellationToken);
        }
        catch (ProofRefusedException)
        {
            LastFault = $"{endPoint}: another node answers there, or its key is another";
            if (isConfigured && ++_refusedProofs >= RefusedProofsToTell)
                _mesh.Faults.OtherPeer(address, Name);
        }
        catch (UnexpectedPeerException e)
        {
            LastFault = $"{endPoint}: another node answers there, or its key is another";
            _mesh.Counters.CountStranger();
            // An announced address may be this node's own, or that of somebody else with the same range: no fault of anybody.
            if (isConfigured && !e.Actual.Equals(_mesh.Host.PeerId))
                _mesh.Faults.OtherPeer(address, Name);
        }
        catch (Exception e) when (e is IOException or TimeoutException or OperationCanceledException)
        {
            if (!cancellationToken.IsCancellationRequested)
                LastFault = PeerFault.Of(e);
        }

        LogNotReached(_mesh.Logger, Name, address, LastFault);
        return false;
    }

    /// <summary>A connection to one of the node's addresses, and to nobody else there.</summary>
    /// <param name="strict">Break off the handshake with anybody else, which tells that one that its key or name differs. Where
    /// an address is only said to be the node's, somebody else there is no fault and is left without a word.</param>
    internal async Task<PeerConnection> DialAsync(Multiaddr address, bool strict, CancellationToken cancellationToken)
    {
        if (strict && PeerIds.Length == 1)
            return await _mesh.Host.DialAsync(address.Append($"/p2p/{PeerIds[0]}"), cancellationToken);
        // While a new key is rolled out the node may have either identity.
        var connection = await _mesh.Host.DialAsync(address, PeerIds, cancellationToken);
        if (PeerIds.Contains(connection.RemotePeer))
            return connection;
        await connection.DisposeAsync();
        throw new UnexpectedPeerException(connection.RemotePeer, PeerIds[0]);
    }

    private async Task TryRelaysAsync(CancellationToken cancellationToken)
    {
        foreach (var relay in _relays.Nearest())
        {
            if (Best is not null)
                return;
            foreach (var peer in PeerIds)
            {
                try
                {
                    using var limit = new CancellationTokenSource(_mesh.Options.DialTimeout * 2, _mesh.Time);
                    using var either = CancellationTokenSource.CreateLinkedTokenSource(limit.Token, cancellationToken);
                    var connection = await _mesh.RelayClient.DialAsync(relay.Connection, peer, either.Token);
                    if (await GreetAsync(connection, cancellationToken))
                        return;
                }
                catch (Exception e) when (e is IOException or TimeoutException or OperationCanceledException)
                {
                    if (cancellationToken.IsCancellationRequested)
                        return;
                    LastFault = $"through {relay.Node}: {PeerFault.Of(e)}";
                    LogNotReached(_mesh.Logger, Name, relay.Connection.RemoteAddress, LastFault);
                }
            }
        }
    }

    private async Task<bool> GreetAsync(PeerConnection connection, CancellationToken cancellationToken)
    {
        if (_mesh.Sessions.Of(connection) is not { } session)
            return false;
        try
        {
            await _greet(session, Name, cancellationToken);
            LastFault = "";
            return true;
        }
        catch (Exception e) when (e is IOException or TimeoutException or OperationCanceledException)
        {
            LastFault = PeerFault.Of(e);
            await connection.DisposeAsync();
            return false;
        }
    }

    [LoggerMessage(6002, LogLevel.Debug, "{Node} was not reached at {Address}: {Reason}.")]
    private static partial void LogNotReached(ILogger logger, string node, Multiaddr? address, string reason);
}
