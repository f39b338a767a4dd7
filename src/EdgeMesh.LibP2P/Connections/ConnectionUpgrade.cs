using EdgeMesh.LibP2P.Addresses;
using EdgeMesh.LibP2P.Admission;
using EdgeMesh.LibP2P.Noise;
using EdgeMesh.LibP2P.PrivateNetwork;
using EdgeMesh.LibP2P.Select;
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
/// A dialer with admission keys sends its proposal of Noise and the first message with the proof in one flight
/// (<see cref="FirstFlight"/>): a listener that asks for the proof says nothing before it.
/// </summary>
internal static class ConnectionUpgrade
{
    private static readonly string[] Muxers = [YamuxSession.Protocol];

    /// <summary>Takes over <paramref name="transport"/>: it is closed if the upgrade fails.</summary>
    /// <param name="provesTo">For whom a dialer's proof is made; see <see cref="NoiseTerms.ProvesTo"/>.</param>
    /// <exception cref="PeerProtocolException">The peer speaks another protocol, is not the expected one, or said what no
    /// decoder of ours had foreseen.</exception>
    /// <exception cref="IOException">The connection was lost.</exception>
    /// <exception cref="TimeoutException">The peer was too slow.</exception>
    internal static async Task<UpgradedConnection> RunAsync(PeerHostOptions options, TlsSecurity tls, Stream transport, bool dialer,
        PeerId? expected, IReadOnlyList<PeerId> provesTo, Multiaddr? remoteAddress, CancellationToken cancellationToken)
    {
        using var deadline = Deadline.After(options.HandshakeTimeout, options.Time, cancellationToken);
        try
        {
            var terms = new NoiseTerms { Expected = expected, Admission = options.Admission, ProvesTo = provesTo, Keys = options.IdentityKeys };
            var upgraded = await RunAsync(options, tls, transport, dialer, terms, deadline.Token);
            return upgraded with { RemoteAddress = remoteAddress };
        }
        catch (OperationCanceledException e) when (!cancellationToken.IsCancellationRequested)
        {
            await transport.DisposeAsync();
            throw new TimeoutException($"the handshake with {remoteAddress} took longer than {options.HandshakeTimeout.TotalSeconds} s", e);
        }
        catch (Exception e) when (e is not (IOException or TimeoutException or OperationCanceledException))
        {
            // Whatever a library makes of a stranger's bytes, callers have one kind of fault to deal with.
            await transport.DisposeAsync();
            throw new PeerProtocolException($"the handshake with {remoteAddress} failed: {e.Message}", e);
        }
        catch
        {
            await transport.DisposeAsync();
            throw;
        }
    }

    private static async Task<UpgradedConnection> RunAsync(PeerHostOptions options, TlsSecurity tls, Stream transport, bool dialer,
        NoiseTerms terms, CancellationToken cancellationToken)
    {
        if (options.PreSharedKey is { } key)
            transport = await PrivateNetworkStream.JoinAsync(transport, key, cancellationToken);
        transport = new ReadAheadStream(transport);
        if (dialer && terms is { Admission: not null, ProvesTo.Count: > 0 })
        {
            var noise = await ProveAsync(options, transport, terms, cancellationToken);
            return await SelectMuxerAsync(noise.Stream, noise.Peer, noise.Muxer, dialer, NoiseSession.Protocol, cancellationToken);
        }

        var security = dialer
            ? await Negotiation.OfferAsync(transport, options.Security, cancellationToken)
            : await Negotiation.AcceptAsync(transport, p => options.Security.Contains(p, StringComparer.Ordinal), cancellationToken);
        var (stream, peer, muxer) = security switch
        {
            NoiseSession.Protocol => await NoiseAsync(options, transport, dialer, terms, cancellationToken),
            TlsSecurity.Protocol => await tls.SecureAsync(transport, dialer, terms.Expected, cancellationToken),
            _ => throw new PeerProtocolException("no security protocol in common"),
        };
        return await SelectMuxerAsync(stream, peer, muxer, dialer, security, cancellationToken);
    }

    private static async Task<UpgradedConnection> SelectMuxerAsync(Stream stream, PeerId peer, string? muxer, bool dialer, string security, CancellationToken cancellationToken)
    {
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

    /// <summary>Everything that a dialer has to say before the listener's first word, in one write.</summary>
    /// <exception cref="ProofRefusedException">The listener went away instead of answering.</exception>
    private static async Task<(Stream Stream, PeerId Peer, string? Muxer)> ProveAsync(PeerHostOptions options, Stream transport, NoiseTerms terms, CancellationToken cancellationToken)
    {
        var output = NoiseOutput();
        using var selection = ProtocolSelection.Dial([NoiseSession.Protocol], output);
        var session = new NoiseSession(initiator: true, options.Identity, terms, Muxers, output);
        var stream = new NoiseStream(transport, session);
        try
        {
            if (await Negotiation.RunAsync(transport, selection, output, cancellationToken) is null)
                throw new PeerProtocolException("no security protocol in common");
        }
        catch (IOException e) when (selection.State == SelectionState.Pending)
        {
            throw new ProofRefusedException(e);
        }

        await stream.HandshakeAsync(cancellationToken);
        return (stream, session.RemotePeer!, session.Muxer);
    }

    private static ByteQueue NoiseOutput() => new(4 * (NoiseSession.MaxPlain + NoiseSession.Overhead));

    private static async Task<(Stream Stream, PeerId Peer, string? Muxer)> NoiseAsync(PeerHostOptions options, Stream transport, bool dialer,
        NoiseTerms terms, CancellationToken cancellationToken)
    {
        var session = new NoiseSession(dialer, options.Identity, terms, Muxers, NoiseOutput());
        var stream = new NoiseStream(transport, session);
        await stream.HandshakeAsync(cancellationToken);
        // A muxer may be negotiated inside the stream: single bytes are at hand there already.
        return (stream, session.RemotePeer!, session.Muxer);
    }
}
