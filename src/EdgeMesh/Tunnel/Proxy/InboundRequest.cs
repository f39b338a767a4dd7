using EdgeMesh.Catalog;
using EdgeMesh.LibP2P;
using EdgeMesh.LibP2P.Connections;
using EdgeMesh.LibP2P.Wire;
using EdgeMesh.Net;
using EdgeMesh.Tunnel.Loop;
using EdgeMesh.Tunnel.Sessions;

namespace EdgeMesh.Tunnel.Proxy;

/// <summary>The beginning of a stream that a known node opened, up to its request: a whole one is taken at once, and one that
/// comes in pieces is gathered. Whatever else the stream is for goes to the host, which negotiates; the host brings those back
/// here whose dialer negotiates step by step, and those of peers that had not said which node they are.</summary>
internal sealed class InboundRequest : StreamSink, ITimed
{
    private readonly TunnelSession _session;
    private readonly MeshSession _peer;
    private readonly InboundProxy _proxy;
    private TunnelProtocol? _protocol;
    private byte[] _partial = [];
    private bool _preambleSent;
    private bool _passed;
    private bool _refused;

    /// <summary>On the loop's thread.</summary>
    /// <param name="negotiated">What the host has agreed on already; null: it stands in front of the request.</param>
    public InboundRequest(TunnelSession session, MeshSession peer, InboundProxy proxy, TunnelProtocol? negotiated = null)
    {
        (_session, _peer, _proxy, _protocol, _preambleSent) = (session, peer, proxy, negotiated, negotiated is not null);
        session.Loop.Dials.Add(this);
    }

    public bool IsDone => IsGone || (_passed && !_refused);

    /// <summary>No request came, or the peer keeps a stream that was refused.</summary>
    public void OnOverdue() => Reset();

    public void OnFault(Exception exception) => Reset();

    protected override void OnData(Span<byte> data)
    {
        if (_passed)
            return;
        if (_protocol is null && !TakePreamble(ref data))
        {
            _passed = true;
            PassToHost(data, ended: false);
            return;
        }

        try
        {
            if (_partial.Length > 0)
                data = (byte[])[.. _partial, .. data];
            if (Delimited.TryRead(data, OpenMessage.MaxLength, out var message, out var length))
            {
                Consumed(length);
                Take(_protocol!.ReadRequest(message), data[length..]);
                return;
            }
        }
        catch (PeerProtocolException e)
        {
            _proxy.CountMalformed();
            Refuse(AnswerCode.Malformed, e.Message, null);
            return;
        }

        _partial = data.ToArray();
        // The peer may wait for it before it asks.
        if (!_preambleSent && !(_preambleSent = TryWriteWhole(_protocol!.Preamble)))
            Reset();
    }

    protected override void OnEnded()
    {
        if (!_passed)
            Reset();
        _passed = true;
    }

    protected override void OnReset() => _passed = true;

    protected override void OnWritable()
    {
    }

    private bool TakePreamble(ref Span<byte> data)
    {
        foreach (var protocol in TunnelProtocol.All)
        {
            if (!data.StartsWith(protocol.Preamble))
                continue;
            _protocol = protocol;
            Consumed(protocol.Preamble.Length);
            data = data[protocol.Preamble.Length..];
            return true;
        }

        return false;
    }

    private void Take(OpenMessage open, Span<byte> first)
    {
        var (code, text) = _proxy.Judge(_peer, open);
        if (code != AnswerCode.Ok)
        {
            Refuse(code, text, open);
            return;
        }

        _passed = true;
        var request = new AcceptedRequest(_proxy, _session, _peer, _protocol!, open, _preambleSent);
        if (open.Protocol == TransportProtocol.Udp)
        {
            var datagrams = new EndpointDatagrams(request);
            PassTo(datagrams, [], ended: false);
            datagrams.Dial(first);
        }
        else
        {
            var stream = new EndpointStream(request);
            PassTo(stream, first, ended: false);
            stream.Dial();
        }
    }

    private void Refuse(AnswerCode code, string text, OpenMessage? open)
    {
        // To reset the stream now could overtake the answer.
        _passed = _refused = true;
        var answer = _protocol!.Answer(code, text, open);
        _ = TryWriteWhole(_preambleSent ? answer.AsSpan(_protocol.Preamble.Length) : answer);
        CloseWrite();
    }
}

/// <summary>A request that may be dialled: what it asks for, and how it is answered. Holds a place in the budget until it was
/// <see cref="Refused"/> or has <see cref="Ended"/>, one of which is told once.</summary>
internal sealed record AcceptedRequest(InboundProxy Proxy, TunnelSession Session, MeshSession Peer, TunnelProtocol Protocol, OpenMessage Open, bool PreambleSent)
{
    public void Dialled() => Proxy.CountServed();

    public void Refused(AnswerCode code)
    {
        Proxy.Return(Peer);
        Proxy.NoteRefused(Peer, Open, code);
    }

    public void Ended() => Proxy.Return(Peer);

    public ReadOnlySpan<byte> Answer(AnswerCode code, string text)
    {
        var answer = code == AnswerCode.Ok && !Protocol.Ok.IsEmpty ? Protocol.Ok : Protocol.Answer(code, text, Open);
        return PreambleSent ? answer[Protocol.Preamble.Length..] : answer;
    }
}
