using System.Collections.Frozen;
using System.Net;
using System.Net.Sockets;
using System.Text;

namespace EdgeMesh.LibP2P.Addresses;

/// <summary>One kind of component of a multiaddr: its code, its name, and how its value is written in bytes and in text
/// (multiformats' table of protocols).</summary>
public sealed class MultiaddrProtocol
{
    /// <summary>The value has a varint length in front.</summary>
    private const int Variable = -1;

    private const int MaxValue = 255;

    private static readonly MultiaddrProtocol[] All =
    [
        new(0x04, "ip4", 4, v => new IPAddress(v).ToString(), t => Address(t, AddressFamily.InterNetwork)),
        new(0x29, "ip6", 16, v => new IPAddress(v).ToString(), t => Address(t, AddressFamily.InterNetworkV6)),
        new(0x2A, "ip6zone", Variable, Text, FromText),
        new(0x06, "tcp", 2, Port, FromPort),
        new(0x0111, "udp", 2, Port, FromPort),
        new(0x21, "dccp", 2, Port, FromPort),
        new(0x84, "sctp", 2, Port, FromPort),
        new(0x35, "dns", Variable, Text, FromText),
        new(0x36, "dns4", Variable, Text, FromText),
        new(0x37, "dns6", Variable, Text, FromText),
        new(0x38, "dnsaddr", Variable, Text, FromText),
        new(0x01A5, "p2p", Variable, Peer, t => PeerId.TryParse(t, out var id) ? id.Multihash.ToArray() : null),
        new(0x0122, "p2p-circuit", 0, _ => "", _ => []),
        new(0x0118, "webrtc-direct", 0, _ => "", _ => []),
        new(0x0119, "webrtc", 0, _ => "", _ => []),
        new(0x01C0, "tls", 0, _ => "", _ => []),
        new(0x01C1, "sni", Variable, Text, FromText),
        new(0x01C6, "noise", 0, _ => "", _ => []),
        new(0x01CC, "quic", 0, _ => "", _ => []),
        new(0x01CD, "quic-v1", 0, _ => "", _ => []),
        new(0x01D1, "webtransport", 0, _ => "", _ => []),
        new(0x01DD, "ws", 0, _ => "", _ => []),
        new(0x01DE, "wss", 0, _ => "", _ => []),
        new(0x01E0, "http", 0, _ => "", _ => []),
    ];

    private static readonly FrozenDictionary<int, MultiaddrProtocol> ByCode = All.ToFrozenDictionary(p => p.Code);

    private static readonly FrozenDictionary<string, MultiaddrProtocol> ByName =
        All.Append(new(0x01A5, "ipfs", Variable, Peer, t => PeerId.TryParse(t, out var id) ? id.Multihash.ToArray() : null))
            .ToFrozenDictionary(p => p.Name, StringComparer.Ordinal);

    private readonly Func<byte[], string?> _toText;
    private readonly Func<string, byte[]?> _fromText;

    private MultiaddrProtocol(int code, string name, int size, Func<byte[], string?> toText, Func<string, byte[]?> fromText)
    {
        Code = code;
        Name = name;
        Size = size;
        _toText = toText;
        _fromText = fromText;
    }

    /// <summary>The code in the binary form.</summary>
    public int Code { get; }

    /// <summary>The name in the text form.</summary>
    public string Name { get; }

    /// <summary>Length of the value in bytes, or -1 if a varint length comes in front of it.</summary>
    internal int Size { get; }

    internal static MultiaddrProtocol? Find(ulong code) => code <= int.MaxValue ? ByCode.GetValueOrDefault((int)code) : null;

    internal static MultiaddrProtocol? Find(string name) => ByName.GetValueOrDefault(name);

    /// <summary>The value as text, or null if these bytes are no value of this protocol.</summary>
    internal string? ToText(byte[] value) => (Size >= 0 && value.Length != Size) || value.Length > MaxValue ? null : _toText(value);

    /// <summary>The value in bytes, or null if this text is no value of this protocol.</summary>
    internal byte[]? ToBytes(string text) => _fromText(text) is { } value && value.Length <= MaxValue ? value : null;

    private static string Port(byte[] value) => ((value[0] << 8) | value[1]).ToString();

    private static byte[]? FromPort(string text) => ushort.TryParse(text, out var port) ? [(byte)(port >> 8), (byte)port] : null;

    private static string? Peer(byte[] value) => PeerId.TryFromMultihash(value, out var id) ? id.ToString() : null;

    /// <summary>.NET also reads IPv4 addresses of fewer than four parts, and IPv6 addresses with a zone.</summary>
    private static byte[]? Address(string text, AddressFamily family) =>
        IPAddress.TryParse(text, out var address) && address.AddressFamily == family
            && (family == AddressFamily.InterNetwork ? address.ToString() == text : !text.Contains('%', StringComparison.Ordinal))
            ? address.GetAddressBytes()
            : null;

    private static string? Text(byte[] value)
    {
        if (value.Length == 0)
            return null;
        // Names are printed into logs and parsed again: only what survives both.
        foreach (var b in value)
        {
            if (b is <= 0x20 or >= 0x7F or (byte)'/')
                return null;
        }

        return Encoding.ASCII.GetString(value);
    }

    private static byte[]? FromText(string text)
    {
        var value = Encoding.UTF8.GetBytes(text);
        return Text(value) is null ? null : value;
    }
}
