using System.Buffers.Text;
using System.Text;
using EdgeMesh.LibP2P.Addresses;
using EdgeMesh.Net;

namespace EdgeMesh.Tunnel.Discovery;

/// <summary>An address as answers on the LAN have it: <c>dnsaddr=/ip4/192.0.2.7/tcp/20006/p2p/12D3KooW…</c>. Read without an
/// allocation, and nothing else is read: what goes through a relay, or by another protocol, is not found on a LAN.</summary>
internal static class DiscoveredText
{
    private const int MaxPeer = 64;

    /// <param name="multihash">At least <see cref="PeerId.MaxBytes"/>: the peer.</param>
    internal static bool TryRead(ReadOnlySpan<byte> text, Span<byte> multihash, out InetEndpoint endPoint, out int length)
    {
        (endPoint, length) = (default, 0);
        if (!TrySkip(ref text, "dnsaddr=/ip4/"u8) || !TryAddress(ref text, out var address) || !TrySkip(ref text, "/tcp/"u8)
            || !Utf8Parser.TryParse(text, out ushort port, out var digits) || !TrySkip(ref text, text[..digits]) || !TrySkip(ref text, "/p2p/"u8)
            || text.Length > MaxPeer)
        {
            return false;
        }

        Span<char> peer = stackalloc char[MaxPeer];
        if (!PeerId.TryReadMultihash(peer[..Encoding.ASCII.GetChars(text, peer)], multihash, out length))
            return false;
        endPoint = new InetEndpoint(address, port);
        return true;
    }

    private static bool TryAddress(ref ReadOnlySpan<byte> text, out InetAddress address)
    {
        address = default;
        uint bits = 0;
        for (var i = 0; i < 4; i++)
        {
            if ((i > 0 && !TrySkip(ref text, "."u8)) || !Utf8Parser.TryParse(text, out byte part, out var digits))
                return false;
            bits = (bits << 8) | part;
            text = text[digits..];
        }

        address = new InetAddress(bits, isIPv6: false);
        return true;
    }

    private static bool TrySkip(ref ReadOnlySpan<byte> text, ReadOnlySpan<byte> word)
    {
        if (!text.StartsWith(word))
            return false;
        text = text[word.Length..];
        return true;
    }
}
