using System.Buffers.Binary;
using System.Collections.Immutable;
using System.Text;

namespace EdgeMesh.Tunnel.Discovery;

/// <summary>
/// The little of DNS (RFC 1035) that libp2p's mDNS needs: questions for PTR, answers PTR and TXT. Names are read with their
/// compression and written without. Whatever exceeds a bound makes the whole message unreadable.
/// </summary>
internal sealed record DnsMessage
{
    /// <summary>As much as fits a frame of Ethernet jumbo size (RFC 6762, 17).</summary>
    internal const int MaxLength = 9000;

    internal const int TypePtr = 12;
    internal const int TypeTxt = 16;

    private const int HeaderSize = 12;
    private const int MaxRecords = 64;
    private const int MaxName = 255;
    private const int MaxJumps = 16;
    private const int MaxLabel = 63;
    private const int MaxText = 255;
    private const ushort ClassInternet = 1;
    private const ushort AuthoritativeAnswer = 0x8400;
    private const uint TimeToLive = 120;

    internal bool IsResponse { get; init; }

    /// <summary>Names for which PTR (or anything) is asked.</summary>
    internal ImmutableArray<string> Questions { get; init; } = [];

    internal ImmutableArray<(string Name, string Target)> Pointers { get; init; } = [];

    /// <summary>One entry per string of a TXT record.</summary>
    internal ImmutableArray<(string Name, string Text)> Texts { get; init; } = [];

    /// <summary>The message in bytes. Strings of one name share a TXT record.</summary>
    internal byte[] Encode()
    {
        var bytes = new List<byte>(512);
        var texts = Texts.GroupBy(t => t.Name, StringComparer.Ordinal).ToList();
        Span<ushort> header = [0, IsResponse ? AuthoritativeAnswer : (ushort)0, (ushort)Questions.Length, (ushort)Pointers.Length, 0, (ushort)texts.Count];
        foreach (var word in header)
            Word(bytes, word);
        foreach (var question in Questions)
        {
            Name(bytes, question);
            Word(bytes, TypePtr);
            Word(bytes, ClassInternet);
        }

        foreach (var (name, target) in Pointers)
            Record(bytes, name, TypePtr, data => Name(data, target));
        foreach (var text in texts)
        {
            Record(bytes, text.Key, TypeTxt, data =>
            {
                foreach (var (_, value) in text)
                {
                    data.Add((byte)Math.Min(value.Length, MaxText));
                    data.AddRange(Encoding.ASCII.GetBytes(value, 0, Math.Min(value.Length, MaxText)));
                }
            });
        }

        return [.. bytes];
    }

    /// <summary>Reads a message; null if it is malformed or beyond its bounds.</summary>
    internal static DnsMessage? Decode(ReadOnlySpan<byte> bytes)
    {
        if (bytes.Length is < HeaderSize or > MaxLength)
            return null;
        var flags = BinaryPrimitives.ReadUInt16BigEndian(bytes[2..]);
        var questionCount = BinaryPrimitives.ReadUInt16BigEndian(bytes[4..]);
        var recordCount = BinaryPrimitives.ReadUInt16BigEndian(bytes[6..]) + BinaryPrimitives.ReadUInt16BigEndian(bytes[8..]) + BinaryPrimitives.ReadUInt16BigEndian(bytes[10..]);
        // No other operation than a query, and nothing cut short.
        if ((flags & 0x7A00) != 0 || questionCount > MaxRecords || recordCount > MaxRecords)
            return null;

        var questions = ImmutableArray.CreateBuilder<string>();
        var pointers = ImmutableArray.CreateBuilder<(string, string)>();
        var texts = ImmutableArray.CreateBuilder<(string, string)>();
        var at = HeaderSize;
        for (var i = 0; i < questionCount; i++)
        {
            if (!TryName(bytes, ref at, out var name) || bytes.Length - at < 4)
                return null;
            if (BinaryPrimitives.ReadUInt16BigEndian(bytes[at..]) is TypePtr or 255)
                questions.Add(name);
            at += 4;
        }

        for (var i = 0; i < recordCount; i++)
        {
            if (!TryName(bytes, ref at, out var name) || bytes.Length - at < 10)
                return null;
            var type = BinaryPrimitives.ReadUInt16BigEndian(bytes[at..]);
            var length = BinaryPrimitives.ReadUInt16BigEndian(bytes[(at + 8)..]);
            at += 10;
            if (bytes.Length - at < length)
                return null;
            var end = at + length;
            if (type == TypePtr)
            {
                var target = at;
                if (!TryName(bytes, ref target, out var pointed) || target != end)
                    return null;
                pointers.Add((name, pointed));
            }
            else if (type == TypeTxt && !TryTexts(bytes[at..end], name, texts))
            {
                return null;
            }

            at = end;
        }

        return new DnsMessage
        {
            IsResponse = (flags & 0x8000) != 0,
            Questions = questions.ToImmutable(),
            Pointers = pointers.ToImmutable(),
            Texts = texts.ToImmutable(),
        };
    }

    private static bool TryTexts(ReadOnlySpan<byte> data, string name, ImmutableArray<(string, string)>.Builder texts)
    {
        while (!data.IsEmpty)
        {
            var length = data[0];
            if (data.Length - 1 < length || texts.Count == MaxRecords)
                return false;
            texts.Add((name, Encoding.ASCII.GetString(data.Slice(1, length))));
            data = data[(1 + length)..];
        }

        return true;
    }

    /// <summary>Reads a name; <paramref name="at"/> is then behind it, or behind the pointer that it ends in.</summary>
    private static bool TryName(ReadOnlySpan<byte> bytes, ref int at, out string name)
    {
        name = "";
        var text = new StringBuilder();
        var from = at;
        var jumps = 0;
        while (true)
        {
            if (from >= bytes.Length)
                return false;
            var length = bytes[from++];
            if (length == 0)
                break;
            if (length >= 0xC0)
            {
                if (from >= bytes.Length || ++jumps > MaxJumps)
                    return false;
                var target = ((length & 0x3F) << 8) | bytes[from++];
                if (jumps == 1)
                    at = from;
                from = target;
                continue;
            }

            if (length > MaxLabel || bytes.Length - from < length || text.Length + length + 1 > MaxName)
                return false;
            if (text.Length > 0)
                text.Append('.');
            text.Append(Encoding.ASCII.GetString(bytes.Slice(from, length)));
            from += length;
        }

        if (jumps == 0)
            at = from;
        name = text.ToString();
        return true;
    }

    private static void Record(List<byte> bytes, string name, ushort type, Action<List<byte>> write)
    {
        Name(bytes, name);
        Word(bytes, type);
        Word(bytes, ClassInternet);
        Word(bytes, (ushort)(TimeToLive >> 16));
        Word(bytes, (ushort)(TimeToLive & 0xFFFF));
        var data = new List<byte>();
        write(data);
        Word(bytes, (ushort)data.Count);
        bytes.AddRange(data);
    }

    private static void Name(List<byte> bytes, string name)
    {
        foreach (var label in name.Split('.'))
        {
            bytes.Add((byte)label.Length);
            bytes.AddRange(Encoding.ASCII.GetBytes(label));
        }

        bytes.Add(0);
    }

    private static void Word(List<byte> bytes, ushort value)
    {
        bytes.Add((byte)(value >> 8));
        bytes.Add((byte)value);
    }
}
