using System.Collections.Concurrent;
using System.Collections.Immutable;
using System.Net;
using System.Net.Sockets;
using EdgeMesh.LibP2P.Addresses;
using EdgeMesh.LibP2P.Admission;
using EdgeMesh.LibP2P.Noise;
using EdgeMesh.LibP2P.Tls;
using Microsoft.Extensions.Logging;

namespace EdgeMesh.LibP2P.Connections;

/// <summary>Serves one stream that a peer opened. When it returns, this side's direction is ended; when it throws, the
/// stream is reset.</summary>
public delegate Task StreamHandler(PeerStream stream, CancellationToken cancellationToken);

/// <summary>A libp2p node over TCP: listens, dials, upgrades, and hands streams to the handlers of their protocols.</summary>
public sealed partial class PeerHost : IAsyncDisposable
{
    private static readonly TimeSpan AfterAcceptFailure = TimeSpan.FromMilliseconds(50);

    private readonly TlsSecurity _tls;
    private readonly ConcurrentDictionary<string, StreamHandler> _handlers = new(StringComparer.Ordinal);
    private readonly ConcurrentDictionary<PeerConnection, Task> _connections = new();
    private readonly FairPlaces<Stream> _handshakes;
    private readonly CancellationTokenSource _stopping = new();
    private ImmutableList<IAsyncDisposable> _listeners = [];

    public PeerHost(PeerHostOptions options, ILogger logger)
    {
        if (options.Admission is not null && options.Security is not [NoiseSession.Protocol])
            throw new ArgumentException("the proof of admission travels in Noise: there must be no other security", nameof(options));
        Options = options;
        Logger = logger;
        _handshakes = new FairPlaces<Stream>(options.MaxHandshakes, options.MaxHandshakesPerAddress, options.IsKnownAddress is null ? 0 : options.MaxHandshakes / 4, options.HandshakeGrace, options.Time);
        _tls = new TlsSecurity(options.Identity, options.Time);
    }

    public PeerHostOptions Options { get; }

    /// <summary>Who this host is.</summary>
    public PeerId PeerId => Options.Identity.PeerId;

    /// <summary>The addresses that it listens at.</summary>
    public ImmutableList<Multiaddr> ListenAddresses { get; private set; } = [];

    /// <summary>The protocols that it serves.</summary>
    public ICollection<string> Protocols => _handlers.Keys;

    /// <summary>The connections that stand.</summary>
    public ICollection<PeerConnection> Connections => _connections.Keys;

    internal ILogger Logger { get; }

    /// <summary>Serves a protocol from now on, on every connection.</summary>
    public void Handle(string protocol, StreamHandler handler) => _handlers[protocol] = handler;

    /// <summary>Takes connections at a TCP endpoint (port 0: any) and says at which address.</summary>
    public Multiaddr Listen(IPEndPoint endPoint)
    {
        var socket = new Socket(endPoint.AddressFamily, SocketType.Stream, ProtocolType.Tcp);
        try
        {
            if (endPoint.AddressFamily == AddressFamily.InterNetworkV6)
                socket.DualMode = false;
            Options.PrepareSocket?.Invoke(socket);
            socket.Bind(endPoint);
            socket.Listen();
        }
        catch
        {
            socket.Dispose();
            throw;
        }

        var address = Multiaddr.FromEndPoint((IPEndPoint)socket.LocalEndPoint!);
        ListenAddresses = ListenAddresses.Add(address);
        _listeners = _listeners.Add(Options.Driver?.Accept(socket, Admit) ?? new AcceptingSocket(socket, AcceptAsync(socket)));
        return address.Append($"/p2p/{PeerId}");
    }

    /// <summary>Dials an address like `/ip4/…/tcp/…/p2p/…`; with a peer id at its end, only that peer will do.</summary>
    /// <exception cref="IOException">The peer could not be reached or is not the one.</exception>
    public Task<PeerConnection> DialAsync(Multiaddr address, CancellationToken cancellationToken)
    {
        ArgumentNullException.ThrowIfNull(address);
        return DialAsync(address, address.Peer is { } peer ? [peer] : [], cancellationToken);
    }

    /// <summary>As the other, with the proof of admission for <paramref name="provesTo"/>: one peer, or one for each key. Who
    /// answered is for the caller to judge, where the address does not say.</summary>
    /// <exception cref="IOException">The peer could not be reached or is not the one.</exception>
    public async Task<PeerConnection> DialAsync(Multiaddr address, IReadOnlyList<PeerId> provesTo, CancellationToken cancellationToken)
    {
        ArgumentNullException.ThrowIfNull(address);
        ArgumentNullException.ThrowIfNull(provesTo);
        if (!address.TryGetTcpEndPoint(out var endPoint) || address.IsRelayed)
            throw new ArgumentException($"{address} does not start with an IP address and a TCP port", nameof(address));
        Stream transport;
        try
        {
            using var deadline = Deadline.After(Options.ConnectTimeout, Options.Time, cancellationToken);
            transport = Options.Driver is { } driver ? await driver.ConnectAsync(endPoint, deadline.Token) : await ConnectAsync(endPoint, deadline.Token);
        }
        catch (Exception e) when (e is SocketException or IOException or OperationCanceledException)
        {
            cancellationToken.ThrowIfCancellationRequested();
            var reason = e is OperationCanceledException ? $"no answer within {Options.ConnectTimeout.TotalSeconds:0.###} s" : e.Message;
            throw new IOException($"{endPoint} could not be reached: {reason}", e);
        }

        return await UpgradeAsync(transport, dialer: true, address.Peer, provesTo, address, cancellationToken);
    }

    private async Task<Stream> ConnectAsync(IPEndPoint endPoint, CancellationToken cancellationToken)
    {
        var socket = new Socket(endPoint.AddressFamily, SocketType.Stream, ProtocolType.Tcp) { NoDelay = true };
        try
        {
            Options.PrepareSocket?.Invoke(socket);
            await socket.ConnectAsync(endPoint, cancellationToken);
            return new NetworkStream(socket, ownsSocket: true);
        }
        catch
        {
            socket.Dispose();
            throw;
        }
    }

    /// <summary>Makes a connection out of any stream, which it owns from then on: a TCP connection, or a stream through a
    /// relay. <paramref name="expected"/> null takes any peer.</summary>
    public Task<PeerConnection> UpgradeAsync(Stream transport, bool dialer, PeerId? expected, Multiaddr? remoteAddress, CancellationToken cancellationToken) =>
        UpgradeAsync(transport, dialer, expected, dialer && expected is not null ? [expected] : [], remoteAddress, cancellationToken);

    private async Task<PeerConnection> UpgradeAsync(Stream transport, bool dialer, PeerId? expected, IReadOnlyList<PeerId> provesTo, Multiaddr? remoteAddress, CancellationToken cancellationToken)
    {
        var upgraded = await ConnectionUpgrade.RunAsync(Options, _tls, transport, dialer, expected, provesTo, remoteAddress, cancellationToken);
        if (_stopping.IsCancellationRequested || _connections.Count >= Options.MaxConnections)
        {
            await upgraded.Stream.DisposeAsync();
            throw new IOException(_stopping.IsCancellationRequested ? "the host is stopping" : $"{Options.MaxConnections} connections stand already");
        }

        var connection = new PeerConnection(this, upgraded);
        var started = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        _connections[connection] = started.Task;
        Options.Connected?.Invoke(connection);
        Options.Background("peer-connection", () => RunAsync(connection, started));
        return connection;
    }

    internal void Serve(PeerStream stream) => Options.Background("peer-stream", () => ServeAsync(stream));

    private async Task ServeAsync(PeerStream stream)
    {
        // Called under the connection's lock.
        await Task.Yield();
        try
        {
            using (var deadline = Deadline.After(Options.NegotiationTimeout, Options.Time, _stopping.Token))
            {
                if (await Negotiation.AcceptAsync(stream, _handlers.ContainsKey, deadline.Token) is not { } protocol)
                {
                    stream.Reset();
                    return;
                }

                stream.Protocol = protocol;
            }

            if (!_handlers.TryGetValue(stream.Protocol, out var handler))
            {
                stream.Reset();
                return;
            }

            await handler(stream, _stopping.Token);
            await stream.DisposeAsync();
        }
        catch (Exception e)
        {
            LogStreamFailed(Logger, stream.Connection.RemotePeer, stream.Protocol, e.Message);
            stream.Reset();
        }
    }

    /// <summary>Stops listening and closes every connection.</summary>
    public async ValueTask DisposeAsync()
    {
        await _stopping.CancelAsync();
        foreach (var listener in _listeners)
            await listener.DisposeAsync();

        foreach (var (connection, running) in _connections)
        {
            await connection.DisposeAsync();
            await running;
        }

        _tls.Dispose();
    }

    private async Task RunAsync(PeerConnection connection, TaskCompletionSource ended)
    {
        await connection.RunAsync();
        _connections.TryRemove(connection, out _);
        ended.TrySetResult();
    }

    private async Task AcceptAsync(Socket listener)
    {
        while (!_stopping.IsCancellationRequested)
        {
            try
            {
                var socket = await listener.AcceptAsync(_stopping.Token);
                if (socket.RemoteEndPoint is not IPEndPoint from)
                {
                    socket.Dispose();
                    continue;
                }

                socket.NoDelay = true;
                Admit(new NetworkStream(socket, ownsSocket: true), from);
            }
            catch (SocketException e)
            {
                LogAcceptFailed(Logger, e.Message);
                // Without descriptors the next call fails as quickly as this one.
                await Task.WhenAny(Task.Delay(AfterAcceptFailure, Options.Time, _stopping.Token));
            }
            catch (Exception e) when (e is OperationCanceledException or ObjectDisposedException)
            {
                return;
            }
        }
    }

    private void Admit(Stream transport, IPEndPoint from)
    {
        var share = AddressShare.Of(from.Address);
        var isKnown = Options.IsKnownAddress?.Invoke(share) == true;
        var isTaken = false;
        long ticket = 0;
        (bool Is, Stream Holder) displaced = default;
        if (_connections.Count < Options.MaxConnections)
        {
            lock (_handshakes)
                isTaken = _handshakes.TryTake(share, isKnown, transport, out ticket, out displaced);
        }

        if (displaced.Is)
            displaced.Holder!.Dispose();
        if (isTaken)
            Options.Background("peer-admission", () => AdmitAsync(transport, from, ticket));
        else
            transport.Dispose();
    }

    private async Task AdmitAsync(Stream transport, IPEndPoint from, long ticket)
    {
        await Task.Yield();
        var address = Multiaddr.FromEndPoint(from);
        try
        {
            await UpgradeAsync(transport, dialer: false, expected: null, address, _stopping.Token);
        }
        catch (Exception e)
        {
            await transport.DisposeAsync();
            LogRefused(Logger, address, e.Message);
            Options.Refused?.Invoke(address, e);
        }
        finally
        {
            EndHandshake(ticket);
        }
    }

    /// <summary>A method of its own: in the native program a lock inside the finally of an asynchronous method was seen to stay held.</summary>
    private void EndHandshake(long ticket)
    {
        lock (_handshakes)
            _handshakes.Return(ticket);
    }

    /// <summary>A listener that this host accepts from itself.</summary>
    private sealed class AcceptingSocket(Socket socket, Task accepting) : IAsyncDisposable
    {
        public async ValueTask DisposeAsync()
        {
            socket.Dispose();
            await accepting;
        }
    }

    [LoggerMessage(5001, LogLevel.Debug, "A connection from {Address} was not completed: {Reason}")]
    private static partial void LogRefused(ILogger logger, Multiaddr? address, string reason);

    [LoggerMessage(5002, LogLevel.Debug, "A connection could not be accepted: {Reason}")]
    private static partial void LogAcceptFailed(ILogger logger, string reason);

    [LoggerMessage(5003, LogLevel.Debug, "A stream of {Peer} for '{Protocol}' failed: {Reason}")]
    private static partial void LogStreamFailed(ILogger logger, PeerId peer, string protocol, string reason);
}
