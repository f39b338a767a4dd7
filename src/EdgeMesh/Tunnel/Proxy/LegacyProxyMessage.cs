using System.Text;
using EdgeMesh.Catalog;
using EdgeMesh.LibP2P;
using EdgeMesh.LibP2P.Wire;
using EdgeMesh.Linux;
using EdgeMesh.Net;
using EdgeMesh.Tunnel.Identity;
using EdgeMesh.Tunnel.Sessions;

namespace EdgeMesh.Tunnel.Proxy;

internal enum LegacyProxyType
{
    Connect = 0,
    Success = 1,
    Failed = 2,
}

/// <summary>Both messages of edgemesh-agent's `/libp2p/tunnel-proxy/1.0.0`: `{1 type, 2 protocol ("tcp", "udp"), 3 node name, 4 ip
/// (text), 5 port}`. CONNECT is answered by SUCCESS or FAILED, then bytes follow as they come; datagrams lose their borders.</summary>
internal sealed record LegacyProxyMessage(LegacyProxyType Type, TransportProtocol Protocol, string Node, InetEndpoint? Endpoint)
{
    internal const string ProtocolName = HelloMessage.FirstProxyProtocol;
    internal const int MaxLength = 1024;

    private const int MaxText = 64;

    internal byte[] Encode() => ProtobufWriter.Message(this, static (message, queue) =>
    {
        var writer = new ProtobufWriter(queue);
        writer.Number(1, (ulong)message.Type);
        writer.Text(2, message.Protocol == TransportProtocol.Udp ? "udp" : "tcp");
        writer.Text(3, message.Node);
        if (message.Endpoint is not { } endpoint)
            return;
        writer.Text(4, endpoint.Address.ToString());
        writer.Number(5, endpoint.Port);
    });

    /// <exception cref="PeerProtocolException">The message is malformed or beyond its limits.</exception>
    internal static LegacyProxyMessage Decode(ReadOnlySpan<byte> bytes)
    {
        ulong type = 0, port = 0;
        var node = "";
        var protocol = TransportProtocol.Tcp;
        InetAddress? address = null;
        var reader = new ProtobufReader(bytes);
        var ok = bytes.Length <= MaxLength;
        while (ok && reader.Next())
        {
            switch (reader.Field)
            {
                case 1:
                    type = reader.Number;
                    break;
                case 2:
                    ok = reader.Bytes.SequenceEqual("tcp"u8) || reader.Bytes.SequenceEqual("udp"u8) || reader.Bytes.IsEmpty;
                    protocol = reader.Bytes.SequenceEqual("udp"u8) ? TransportProtocol.Udp : TransportProtocol.Tcp;
                    break;
                case 3:
                    ok = reader.Bytes.Length <= PresharedKeys.MaxNodeName;
                    node = ok ? Encoding.UTF8.GetString(reader.Bytes) : "";
                    break;
                case 4 when !reader.Bytes.IsEmpty:
                    ok = reader.Bytes.Length <= MaxText && InetAddress.TryParse(Encoding.UTF8.GetString(reader.Bytes), out var parsed) && (address = parsed) is not null;
                    break;
                case 5:
                    port = reader.Number;
                    break;
            }
        }

        if (!ok || reader.Malformed || type > (ulong)LegacyProxyType.Failed || port > ushort.MaxValue
            || (type == (ulong)LegacyProxyType.Connect && (address is null || port == 0)))
        {
            throw new PeerProtocolException("a message of the first proxy protocol is malformed or too long");
        }

        return new LegacyProxyMessage((LegacyProxyType)type, protocol, node, address is { } ip ? new InetEndpoint(ip, (ushort)port) : null);
    }
}
