using EdgeMesh.LibP2P.Addresses;
using EdgeMesh.LibP2P.Identify;
using EdgeMesh.LibP2P.Noise;
using EdgeMesh.LibP2P.Select;
using EdgeMesh.LibP2P.Wire;
using EdgeMesh.LibP2P.Yamux;

namespace EdgeMesh.LibP2P.Connections;

/// <summary>
/// An authenticated connection to a peer, with streams in both directions: a <see cref="YamuxSession"/> driven by one task
/// that reads, one that writes, and a timer that asks for signs of life. Everything that touches the session holds
/// <see cref="Gate"/>; nothing is awaited under it.
/// </summary>
public sealed partial class PeerConnection : IAsyncDisposable
{
    private readonly UpgradedConnection _upgraded;
    private readonly PeerHost _host;
    private readonly YamuxSession _session;
    private readonly HashSet<PeerStream> _streams = [];
    private readonly Signal _outputReady = new();
    private readonly Signal _streamRoom = new();
    private readonly CancellationTokenSource _closing = new();
    private readonly TaskCompletionSource _closed = new(TaskCreationOptions.RunContinuationsAsynchronously);

    internal PeerConnection(PeerHost host, UpgradedConnection upgraded)
    {
        _host = host;
        _upgraded = upgraded;
        // Over a stream, a message shall fill one frame of that stream together with what it adds.
        var yamux = upgraded.Stream is NoiseStream { Transport: PeerStream }
            ? host.Options.Yamux with { MaxFrameBody = host.Options.Yamux.MaxFrameBody - NoiseSession.Overhead - YamuxFrame.HeaderSize }
            : host.Options.Yamux;
        _session = new YamuxSession(upgraded.IsDialer, yamux, host.Options.Time)
        {
            MaxInboundStreams = host.Options.StreamsOfStrangers ?? host.Options.Yamux.MaxInboundStreams,
        };
    }

    /// <summary>Who is at the other end, proved by the handshake.</summary>
    public PeerId RemotePeer => _upgraded.Peer;

    /// <summary>Where the other end is, as seen from here.</summary>
    public Multiaddr? RemoteAddress => _upgraded.RemoteAddress;

    /// <summary>Whether this side dialled.</summary>
    public bool IsDialer => _upgraded.IsDialer;

    /// <summary>`/noise` or `/tls/1.0.0`.</summary>
    public string Security => _upgraded.Security;

    /// <summary>What the peer said about itself, if it has been asked or has told.</summary>
    public IdentifyMessage? Identity { get; internal set; }

    /// <summary>The last measured round trip; null before the first.</summary>
    public TimeSpan? RoundTrip
    {
        get
        {
            lock (Gate)
                return _session.RoundTrip;
        }
    }

    /// <summary>How many streams are open.</summary>
    public int StreamCount
    {
        get
        {
            lock (Gate)
                return _session.StreamCount;
        }
    }

    /// <summary>Ends when the connection does, without an exception; <see cref="Failure"/> says why.</summary>
    public Task Closed => _closed.Task;

    /// <summary>Why the connection ended; null while it stands.</summary>
    public Exception? Failure { get; private set; }

    internal ConnectionDriver? Driver => _host.Options.Driver;

    internal object Gate { get; } = new();

    internal Signal SendRoom { get; } = new();

    /// <summary>Opens a stream and negotiates one of the protocols, best first.</summary>
    /// <exception cref="IOException">The connection is lost, or the peer speaks none of them.</exception>
    /// <exception cref="TimeoutException">The peer did not answer within the host's negotiation time.</exception>
    public async Task<PeerStream> OpenStreamAsync(IReadOnlyList<string> protocols, CancellationToken cancellationToken)
    {
        using var deadline = Deadline.After(_host.Options.NegotiationTimeout, _host.Options.Time, cancellationToken);
        PeerStream? stream = null;
        try
        {
            stream = await OpenRawAsync(selection: null, first: null, deadline.Token);
            stream.Protocol = await Negotiation.OfferAsync(stream, protocols, deadline.Token)
                ?? throw new IOException($"{RemotePeer} speaks none of {string.Join(", ", protocols)}");
            return stream;
        }
        catch (OperationCanceledException e) when (!cancellationToken.IsCancellationRequested)
        {
            stream?.Reset();
            throw new TimeoutException($"{RemotePeer} did not answer the offer of {protocols[0]} in time", e);
        }
        catch
        {
            stream?.Reset();
            throw;
        }
    }

    /// <summary>As the other, with one protocol.</summary>
    public Task<PeerStream> OpenStreamAsync(string protocol, CancellationToken cancellationToken) => OpenStreamAsync([protocol], cancellationToken);

    /// <summary>
    /// Opens a stream and sends the first bytes in the same flight, without waiting for the peer to say that it speaks the
    /// protocol: for one that it is known to speak. If it does not, the stream is reset.
    /// </summary>
    /// <param name="firstBytes">Taken whole if the send buffer has room, and awaited otherwise.</param>
    /// <exception cref="IOException">The connection is lost.</exception>
    public async Task<PeerStream> OpenEagerlyAsync(string protocol, ReadOnlyMemory<byte> firstBytes, CancellationToken cancellationToken)
    {
        var output = new ByteQueue(2 * SelectTokens.MaxLength + 2 * Varint.MaxLength + firstBytes.Length);
        var selection = ProtocolSelection.Dial([protocol], output);
        output.Append(firstBytes.Span);
        var stream = await OpenRawAsync(selection, output, cancellationToken);
        stream.Protocol = protocol;
        try
        {
            if (output.Count > 0)
                await stream.WriteAsync(output.Memory, cancellationToken);
            return stream;
        }
        catch
        {
            stream.Reset();
            throw;
        }
        finally
        {
            output.Dispose();
        }
    }

    /// <summary>From now on the peer may have so many streams open.</summary>
    public void AllowStreams(int count)
    {
        lock (Gate)
            _session.MaxInboundStreams = count;
    }

    /// <summary>Says good-bye and closes, without waiting for it; streams still open are lost.</summary>
    public void End(Exception reason) => Fail(reason, goodbye: true);

    /// <summary>Says good-bye and closes; streams still open are lost.</summary>
    public async ValueTask DisposeAsync()
    {
        Fail(new IOException("this side closed the connection"), goodbye: true);
        await _closed.Task;
    }

    internal void Consumed(PeerStream stream, int count)
    {
        _session.Consumed(stream.Core, count);
        WakeWriter();
    }

    internal int Write(PeerStream stream, ReadOnlySpan<byte> data)
    {
        var count = _session.Write(stream.Core, data);
        WakeWriter();
        return count;
    }

    internal void CloseWrite(PeerStream stream)
    {
        if (Failure is not null)
            return;
        _session.CloseWrite(stream.Core);
        AfterStream(stream.Core);
    }

    internal void Reset(PeerStream stream)
    {
        if (Failure is not null)
            return;
        _session.Reset(stream.Core);
        AfterStream(stream.Core);
    }

    private async Task<PeerStream> OpenRawAsync(ProtocolSelection? selection, ByteQueue? first, CancellationToken cancellationToken)
    {
        while (true)
        {
            Task wait;
            lock (Gate)
            {
                if (Failure is { } failure)
                    throw new IOException($"the connection to {RemotePeer} is closed: {failure.Message}", failure);
                if (_session.PeerIsLeaving)
                    throw new IOException($"{RemotePeer} takes no more streams");
                if (_session.TryOpen() is { } core)
                {
                    var stream = Add(core);
                    stream.Selection = selection;
                    // Under the same lock as the opening frame, so that both leave in one write.
                    if (first is not null)
                        first.Consume(_session.Write(core, first.Data));
                    WakeWriter();
                    return stream;
                }

                // As many are open, or not yet acknowledged, as may be: room comes with the next acknowledgement or end.
                wait = _streamRoom.Wait();
            }

            await wait.WaitAsync(cancellationToken);
        }
    }

    internal PeerStream Add(YamuxStream core)
    {
        var stream = new PeerStream(this, core, _host.Options.Yamux.MaxWindow + YamuxOptions.InitialWindow);
        _streams.Add(stream);
        return stream;
    }

    internal void AfterStream(YamuxStream core)
    {
        if (core.IsGone)
        {
            if (core.Tag is PeerStream stream)
                _streams.Remove(stream);
            _streamRoom.Set();
        }

        WakeWriter();
    }

    private void WakeWriter()
    {
        if (_session.Output.Count == 0)
            return;
        if (_drive is { } drive)
            drive.Wake();
        else
            _outputReady.Set();
    }
}
