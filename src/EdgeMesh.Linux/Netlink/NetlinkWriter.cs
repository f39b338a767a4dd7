using System.Buffers.Binary;
using System.Text;
using EdgeMesh.Net;

namespace EdgeMesh.Linux.Netlink;

/// <summary>Writes netlink messages one after the other into a caller's buffer (RFC 3549, linux/netlink.h).
/// Lengths and types are in host order; what netfilter wants in network order is said so by the method's name.</summary>
internal ref struct NetlinkWriter(Span<byte> buffer)
{
    private readonly Span<byte> _buffer = buffer;
    private int _messageStart;
    private int _length;

    internal readonly ReadOnlySpan<byte> Written => _buffer[.._length];

    internal readonly int Length => _length;

    internal readonly int Free => _buffer.Length - _length;

    internal void BeginMessage(int type, int flags, uint sequence)
    {
        _messageStart = _length;
        var header = Claim(16);
        WriteHost16(header[4..], (ushort)type);
        WriteHost16(header[6..], (ushort)flags);
        WriteHost32(header[8..], sequence);
    }

    internal readonly void EndMessage() => WriteHost32(_buffer[_messageStart..], (uint)(_length - _messageStart));

    /// <summary>Header of every nfnetlink message (struct nfgenmsg).</summary>
    internal void NetfilterHeader(int family, int resource = 0)
    {
        var header = Claim(4);
        header[0] = (byte)family;
        BinaryPrimitives.WriteUInt16BigEndian(header[2..], (ushort)resource);
    }

    /// <summary>Room for a fixed header; zeroed, and padded to 4 bytes.</summary>
    internal Span<byte> Claim(int bytes)
    {
        var aligned = (bytes + 3) & ~3;
        var space = _buffer.Slice(_length, aligned);
        space.Clear();
        _length += aligned;
        return space[..bytes];
    }

    internal void Attribute(int type, scoped ReadOnlySpan<byte> value)
    {
        var header = Claim(4);
        WriteHost16(header, (ushort)(4 + value.Length));
        WriteHost16(header[2..], (ushort)type);
        value.CopyTo(Claim(value.Length));
    }

    internal void AttributeByte(int type, byte value) => Attribute(type, [value]);

    internal void AttributeHost32(int type, uint value)
    {
        Span<byte> bytes = stackalloc byte[4];
        WriteHost32(bytes, value);
        Attribute(type, bytes);
    }

    internal void AttributeNetwork16(int type, ushort value)
    {
        Span<byte> bytes = stackalloc byte[2];
        BinaryPrimitives.WriteUInt16BigEndian(bytes, value);
        Attribute(type, bytes);
    }

    internal void AttributeNetwork64(int type, ulong value)
    {
        Span<byte> bytes = stackalloc byte[8];
        BinaryPrimitives.WriteUInt64BigEndian(bytes, value);
        Attribute(type, bytes);
    }

    internal void AttributeText(int type, string value)
    {
        Span<byte> bytes = stackalloc byte[Encoding.UTF8.GetByteCount(value) + 1];
        Encoding.UTF8.GetBytes(value, bytes);
        bytes[^1] = 0;
        Attribute(type, bytes);
    }

    internal void AttributeAddress(int type, in InetAddress address)
    {
        Span<byte> bytes = stackalloc byte[16];
        Attribute(type, bytes[..address.WriteBytes(bytes)]);
    }

    internal int BeginNest(int type)
    {
        var at = _length;
        // NLA_F_NESTED: strict parsers (ctnetlink since 5.2) refuse nests without it.
        WriteHost16(Claim(4)[2..], (ushort)(type | 0x8000));
        return at;
    }

    internal readonly void EndNest(int at) => WriteHost16(_buffer[at..], (ushort)(_length - at));

    private static void WriteHost16(Span<byte> at, ushort value) => System.Runtime.InteropServices.MemoryMarshal.Write(at, value);

    private static void WriteHost32(Span<byte> at, uint value) => System.Runtime.InteropServices.MemoryMarshal.Write(at, value);
}
