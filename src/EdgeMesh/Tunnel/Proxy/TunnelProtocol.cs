using System.Collections.Immutable;
using EdgeMesh.Catalog;
using EdgeMesh.LibP2P;
using EdgeMesh.LibP2P.Wire;
using EdgeMesh.Net;

namespace EdgeMesh.Tunnel.Proxy;

/// <summary>What goes over a stream before its bytes: the request of whoever has the client, and the answer of whoever has the
/// endpoint. Neither waits for the other to negotiate: the header of multistream-select and the protocol stand in front of both.</summary>
internal abstract class TunnelProtocol
{
    /// <summary>`/edgemesh/proxy/2.0.0`.</summary>
    public static TunnelProtocol V2 { get; } = new Version2();

    /// <summary>`/libp2p/tunnel-proxy/1.0.0`, of the Go agent.</summary>
    public static TunnelProtocol V1 { get; } = new Version1();

    public static ImmutableArray<TunnelProtocol> All { get; } = [V2, V1];

    public abstract string Name { get; }

    /// <summary>The header of multistream-select and the protocol's name.</summary>
    public abstract ReadOnlySpan<byte> Preamble { get; }

    /// <summary>What nearly every answer is; empty if there is no such.</summary>
    public virtual ReadOnlySpan<byte> Ok => [];

    /// <summary>The client's first bytes go out with the request, and a datagram has its length in front. Without it they wait for
    /// the answer, as its reader may take in more than that, and datagrams are sent as they come.</summary>
    public abstract bool IsFramed { get; }

    /// <summary>A whole request, with the client's bytes that go with it.</summary>
    public ByteQueue Request(TunnelDestination destination, ReadOnlySpan<byte> firstBytes)
    {
        var queue = new ByteQueue(Preamble.Length + OpenMessage.MaxLength + Varint.MaxLength + firstBytes.Length);
        queue.Append(Preamble);
        AppendRequest(queue, destination);
        if (IsFramed)
            queue.Append(firstBytes);
        return queue;
    }

    /// <exception cref="PeerProtocolException">The message is malformed or beyond its limits.</exception>
    public abstract OpenMessage ReadRequest(ReadOnlySpan<byte> message);

    /// <summary>A whole answer, the preamble in front.</summary>
    /// <param name="open">What is answered; null: it could not be read.</param>
    public byte[] Answer(AnswerCode code, string text, OpenMessage? open)
    {
        using var queue = new ByteQueue(Preamble.Length + LegacyProxyMessage.MaxLength + Varint.MaxLength);
        queue.Append(Preamble);
        Delimited.Append(queue, Encode(code, text, open));
        return queue.Data.ToArray();
    }

    /// <exception cref="PeerProtocolException">The message is malformed or beyond its limits.</exception>
    public abstract AnswerMessage ReadAnswer(ReadOnlySpan<byte> message);

    protected abstract void AppendRequest(ByteQueue queue, TunnelDestination destination);

    protected abstract byte[] Encode(AnswerCode code, string text, OpenMessage? open);

    private sealed class Version2 : TunnelProtocol
    {
        private readonly byte[] _ok;

        public Version2() => _ok = Answer(AnswerCode.Ok, "", null);

        public override string Name => OpenMessage.ProtocolName;

        public override ReadOnlySpan<byte> Preamble => "\x13/multistream/1.0.0\n\x16/edgemesh/proxy/2.0.0\n"u8;

        public override ReadOnlySpan<byte> Ok => _ok;

        public override bool IsFramed => true;

        public override OpenMessage ReadRequest(ReadOnlySpan<byte> message) => OpenMessage.Decode(message);

        public override AnswerMessage ReadAnswer(ReadOnlySpan<byte> message) => AnswerMessage.Decode(message);

        protected override void AppendRequest(ByteQueue queue, TunnelDestination destination) => OpenMessage.Of(destination).Append(queue);

        protected override byte[] Encode(AnswerCode code, string text, OpenMessage? open) => new AnswerMessage(code, text).Encode();
    }

    private sealed class Version1 : TunnelProtocol
    {
        public override string Name => LegacyProxyMessage.ProtocolName;

        public override ReadOnlySpan<byte> Preamble => "\x13/multistream/1.0.0\n\x1b/libp2p/tunnel-proxy/1.0.0\n"u8;

        public override bool IsFramed => false;

        public override OpenMessage ReadRequest(ReadOnlySpan<byte> message) =>
            LegacyProxyMessage.Decode(message) is { Type: LegacyProxyType.Connect, Endpoint: { } endpoint } asked
                ? new OpenMessage(asked.Protocol, new ServicePortName("", "", "", asked.Protocol), endpoint, default)
                : throw new PeerProtocolException("a request to the proxy was expected");

        public override AnswerMessage ReadAnswer(ReadOnlySpan<byte> message) =>
            LegacyProxyMessage.Decode(message).Type == LegacyProxyType.Success ? AnswerMessage.Ok : new AnswerMessage(AnswerCode.DialFailed, "");

        protected override void AppendRequest(ByteQueue queue, TunnelDestination destination) =>
            Delimited.Append(queue, new LegacyProxyMessage(LegacyProxyType.Connect, destination.Protocol, destination.Node, destination.Endpoint).Encode());

        protected override byte[] Encode(AnswerCode code, string text, OpenMessage? open) =>
            new LegacyProxyMessage(code == AnswerCode.Ok ? LegacyProxyType.Success : LegacyProxyType.Failed, open?.Protocol ?? TransportProtocol.Tcp, "", open?.Endpoint).Encode();
    }
}

/// <summary>Reads the preamble and the answer, which mostly come in one piece.</summary>
internal struct AnswerReader
{
    private byte[]? _partial;

    /// <summary>Takes a piece of the stream; null while the answer is not complete.</summary>
    /// <param name="rest">What comes behind the answer.</param>
    /// <exception cref="PeerProtocolException">The peer does not speak the protocol.</exception>
    public AnswerMessage? Read(TunnelProtocol protocol, ReadOnlySpan<byte> data, out ReadOnlySpan<byte> rest)
    {
        rest = [];
        if (_partial is null && protocol.Ok is { IsEmpty: false } ok && data.StartsWith(ok))
        {
            rest = data[ok.Length..];
            return AnswerMessage.Ok;
        }

        var known = _partial?.Length ?? 0;
        if (known > 0)
            data = (byte[])[.. _partial!, .. data];
        var preamble = protocol.Preamble;
        if (!data.StartsWith(preamble[..Math.Min(preamble.Length, data.Length)]))
            throw new PeerProtocolException("the peer does not speak the proxy's protocol");
        if (data.Length > preamble.Length && Delimited.TryRead(data[preamble.Length..], LegacyProxyMessage.MaxLength, out var message, out var consumed))
        {
            rest = data[(preamble.Length + consumed)..];
            _partial = null;
            return protocol.ReadAnswer(message);
        }

        _partial = data.ToArray();
        return null;
    }
}
