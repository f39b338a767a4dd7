using EdgeMesh.LibP2P;
using EdgeMesh.LibP2P.Connections;
using EdgeMesh.LibP2P.Wire;
using EdgeMesh.Net;
using EdgeMesh.Tunnel.Proxy;

namespace EdgeMesh.Tunnel.Loop;

/// <summary>Reads the beginning of a stream that a known node opened: a whole request of the proxy is taken at once, without a
/// task; whatever else it is goes to the host, which negotiates. Streams of peers that have not said which node they are never
/// come here: those wait at the host, which gives each few.</summary>
internal sealed class ProxyGreeter : StreamSink, ITimed
{
    private readonly TunnelLoop _loop;
    private readonly ProxyService _service;
    private bool _passed;
    private bool _refused;

    public ProxyGreeter(TunnelLoop loop, ProxyService service)
    {
        _loop = loop;
        _service = service;
        service.Dials.Add(this);
    }

    public bool IsDone => IsGone || (_passed && !_refused);

    /// <summary>No request came, or the peer keeps a stream that was refused.</summary>
    public void OnOverdue() => Reset();

    public void OnFault(Exception exception) => Reset();

    protected override void OnData(Span<byte> data)
    {
        if (_passed)
            return;
        var preamble = ProxyPreamble.Bytes;
        try
        {
            ReadOnlySpan<byte> message = default;
            var length = 0;
            // One who waits for the answer to his proposal before he asks is not taken here either.
            if (!data.StartsWith(preamble)
                || !Delimited.TryRead(data[preamble.Length..], OpenMessage.MaxLength, out message, out length))
            {
                _passed = true;
                PassToHost(data, ended: false);
                return;
            }

            _passed = true;
            Consumed(preamble.Length + length);
            Take(OpenMessage.Decode(message), data[(preamble.Length + length)..]);
        }
        catch (PeerProtocolException e)
        {
            _service.CountMalformed();
            Refuse(AnswerCode.Malformed, e.Message);
        }
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

    private void Take(OpenMessage open, Span<byte> first)
    {
        var (code, text) = _service.Judge(Drive!.Connection, open);
        if (code != AnswerCode.Ok)
        {
            Refuse(code, text);
        }
        else if (open.Protocol == TransportProtocol.Udp)
        {
            var datagrams = new EndpointDatagrams(_loop, open, _service);
            PassTo(datagrams, [], ended: false);
            datagrams.Dial(first);
        }
        else
        {
            var stream = new EndpointStream(_loop, open, _service);
            PassTo(stream, first, ended: false);
            stream.Dial();
        }
    }

    private void Refuse(AnswerCode code, string text)
    {
        // To reset the stream now could overtake the answer.
        _passed = _refused = true;
        _ = TryWriteWhole(ProxyPreamble.Answer(code, text));
        CloseWrite();
    }
}
