using System.Runtime.InteropServices;
using System.Text;

namespace EdgeMesh.Linux.Netlink;

/// <summary>Walks the messages of one received buffer. A length that does not fit ends the walk.</summary>
internal ref struct NetlinkMessages(ReadOnlySpan<byte> data)
{
    internal const int TypeError = 2;
    internal const int TypeDone = 3;
    internal const int TypeOverrun = 4;
    internal const int FlagDumpInterrupted = 0x10;

    private ReadOnlySpan<byte> _rest = data;

    internal int Type { get; private set; }

    internal int Flags { get; private set; }

    internal uint Sequence { get; private set; }

    /// <summary>Address of the socket that asked, for events as for answers.</summary>
    internal uint Sender { get; private set; }

    internal ReadOnlySpan<byte> Payload { get; private set; }

    internal bool MoveNext()
    {
        if (_rest.Length < 16)
            return false;
        var length = MemoryMarshal.Read<uint>(_rest);
        if (length < 16 || length > _rest.Length)
            return false;
        Type = MemoryMarshal.Read<ushort>(_rest[4..]);
        Flags = MemoryMarshal.Read<ushort>(_rest[6..]);
        Sequence = MemoryMarshal.Read<uint>(_rest[8..]);
        Sender = MemoryMarshal.Read<uint>(_rest[12..]);
        Payload = _rest[16..(int)length];
        _rest = _rest[Math.Min(((int)length + 3) & ~3, _rest.Length)..];
        return true;
    }

    /// <summary>For an error message: the positive error number, 0 for an acknowledgement.</summary>
    internal readonly int Errno => Payload.Length < 4 ? NetlinkCalls.Einval : -MemoryMarshal.Read<int>(Payload);
}

/// <summary>Walks attributes (struct nlattr). A length that does not fit ends the walk.</summary>
internal ref struct NetlinkAttributes(ReadOnlySpan<byte> data)
{
    private ReadOnlySpan<byte> _rest = data;

    internal int Type { get; private set; }

    internal ReadOnlySpan<byte> Value { get; private set; }

    internal bool MoveNext()
    {
        if (_rest.Length < 4)
            return false;
        var length = MemoryMarshal.Read<ushort>(_rest);
        if (length < 4 || length > _rest.Length)
            return false;
        Type = MemoryMarshal.Read<ushort>(_rest[2..]) & 0x3FFF;
        Value = _rest[4..length];
        _rest = _rest[Math.Min((length + 3) & ~3, _rest.Length)..];
        return true;
    }

    /// <summary>The value up to its closing zero.</summary>
    internal readonly ReadOnlySpan<byte> TextBytes
    {
        get
        {
            var end = Value.IndexOf((byte)0);
            return end < 0 ? Value : Value[..end];
        }
    }

    internal readonly string Text => Encoding.UTF8.GetString(TextBytes);
}
