using EdgeMesh.LibP2P.Addresses;
using EdgeMesh.LibP2P.Noise;
using EdgeMesh.LibP2P.PrivateNetwork;
using EdgeMesh.LibP2P.Tls;
using EdgeMesh.LibP2P.Wire;
using EdgeMesh.LibP2P.Yamux;

namespace EdgeMesh.LibP2P.Connections;

/// <summary>
/// From raw bytes to a session:
/// <code>
///   1. private network   nonces, then XSalsa20           (if the host has a key)
///   2. select security   /noise or /tls/1.0.0            (multistream, in the clear)
///   3. handshake         who is it, and is it the expected one
///   4. select muxer      /yamux/1.0.0                    (inside the handshake if the peer can, else multistream)
/// </code>
/// </summary>
internal static class ConnectionUpgrade
{
    private static readonly string[] Muxers = [YamuxSession.Protocol];

    /// <summary>Takes over <paramref name="transport"/>: it is closed if the upgrade fails.</summary>
    /// <exception cref="PeerProtocolException">The peer speaks another protocol, or is not the expected one.</exception>
    /// <exception cref="TimeoutException">The peer was too slow.</exception>
    internal static async Task<UpgradedConnection> RunAsync(PeerHostOptions options, TlsSecurity tls, Stream transport, bool dialer,
        PeerId? expected, Multiaddr? remoteAddress, CancellationToken cancellationToken)
    {
        using var deadline = Deadline.After(options.HandshakeTimeout, options.Time, cancellationToken);
        try
        {
            var upgraded = await RunAsync(options, tls, transport, dialer, expected, deadline.Token);
            return upgraded with { RemoteAddress = remoteAddress };
        }
        catch (OperationCanceledException e) when (!cancellationToken.IsCancellationRequested)
        {
            await transport.DisposeAsync();
            throw new TimeoutException($"the handshake with {remoteAddress} took longer than {options.HandshakeTimeout.TotalSeconds} s", e);
        }
        catch
        {
            await transport.DisposeAsync();
            throw;
        }
    }

    private static async Task<UpgradedConnection> RunAsync(PeerHostOptions options, TlsSecurity tls, Stream transport, bool dialer,
        PeerId? expected, CancellationToken cancellationToken)
    {
        if (options.PreSharedKey is { } key)
            transport = await PrivateNetworkStream.JoinAsync(transport, key, cancellationToken);
        transport = new ReadAheadStream(transport);
        var security = dialer
            ? await Negotiation.OfferAsync(transport, options.Security, cancellationToken)
            : await Negotiation.AcceptAsync(transport, p => options.Security.Contains(p, StringComparer.Ordinal), cancellationToken);
        var (stream, peer, muxer) = security switch
        {
            NoiseSession.Protocol => await NoiseAsync(options, transport, dialer, expected, cancellationToken),
            TlsSecurity.Protocol => await tls.SecureAsync(transport, dialer, expected, cancellationToken),
            _ => throw new PeerProtocolException("no security protocol in common"),
        };

        if (muxer is null)
        {
            muxer = dialer
                ? await Negotiation.OfferAsync(stream, Muxers, cancellationToken)
                : await Negotiation.AcceptAsync(stream, p => p == YamuxSession.Protocol, cancellationToken);
        }

        if (muxer != YamuxSession.Protocol)
            throw new PeerProtocolException("no muxer in common");
        return new UpgradedConnection { Stream = stream, Peer = peer, IsDialer = dialer, Security = security };
    }

    private static async Task<(Stream Stream, PeerId Peer, string? Muxer)> NoiseAsync(PeerHostOptions options, Stream transport, bool dialer,
        PeerId? expected, CancellationToken cancellationToken)
    {
        var output = new ByteQueue(4 * (NoiseSession.MaxPlain + NoiseSession.Overhead));
        var session = new NoiseSession(dialer, options.Identity, expected, Muxers, output);
        var stream = new NoiseStream(transport, session);
        await stream.HandshakeAsync(cancellationToken);
        // A muxer may be negotiated inside the stream: single bytes are at hand there already.
        return (stream, session.RemotePeer!, session.Muxer);
    }
}
