using System.Text;

namespace EdgeMesh.Dns.Messages;

/// <summary>Names as they are in a message: labels with their length in front, a zero at the end (RFC 1035, 3.1). Comparing and
/// hashing ignore the case of ASCII letters, and of nothing else (RFC 4343).</summary>
/// <remarks>A length byte is at most 63 and so is never taken for a letter: whole names may be folded as they are.</remarks>
public static class WireName
{
    /// <summary>Reads a name that may be compressed, and writes it whole to <paramref name="destination"/>.</summary>
    /// <remarks>Each pointer must lead to before where the name, or the part of it that the last pointer led to, began. So what
    /// is read gets shorter with each one, and no message makes this run in a circle.</remarks>
    /// <param name="at">Afterwards behind the name, or behind the pointer that it ends in.</param>
    /// <param name="destination">At least <see cref="DnsLimits.MaxName"/> bytes.</param>
    public static bool TryRead(ReadOnlySpan<byte> message, ref int at, Span<byte> destination, out int length)
    {
        length = 0;
        var from = at;
        var before = at;
        var after = -1;
        while ((uint)from < (uint)message.Length)
        {
            int size = message[from];
            if (size >= 0xC0)
            {
                if (from + 1 >= message.Length)
                    return false;
                if (after < 0)
                    after = from + 2;
                from = ((size & 0x3F) << 8) | message[from + 1];
                if (from >= before)
                    return false;
                before = from;
                continue;
            }

            if (size > DnsLimits.MaxLabel || message.Length - from <= size || length + size + 1 > DnsLimits.MaxName)
                return false;
            message.Slice(from, size + 1).CopyTo(destination[length..]);
            length += size + 1;
            from += size + 1;
            if (size != 0)
                continue;
            at = after < 0 ? from : after;
            return true;
        }

        return false;
    }

    /// <summary>Steps over a name without following its pointer.</summary>
    public static bool TrySkip(ReadOnlySpan<byte> message, ref int at)
    {
        var from = at;
        var length = 0;
        while ((uint)from < (uint)message.Length)
        {
            int size = message[from];
            if (size >= 0xC0)
            {
                at = from + 2;
                return at <= message.Length;
            }

            length += size + 1;
            if (size > DnsLimits.MaxLabel || length > DnsLimits.MaxName)
                return false;
            from += size + 1;
            if (size != 0)
                continue;
            at = from;
            return at <= message.Length;
        }

        return false;
    }

    /// <summary>How many bytes the uncompressed name at the beginning of <paramref name="bytes"/> takes; 0: there is none.</summary>
    public static int Length(ReadOnlySpan<byte> bytes)
    {
        var at = 0;
        while (at < bytes.Length && at < DnsLimits.MaxName)
        {
            int size = bytes[at];
            if (size == 0)
                return at + 1;
            if (size > DnsLimits.MaxLabel)
                return 0;
            at += size + 1;
        }

        return 0;
    }

    /// <summary>Where each label of a whole name begins, without the root.</summary>
    /// <param name="offsets">At least <see cref="DnsLimits.MaxLabels"/>.</param>
    /// <returns>How many there are.</returns>
    public static int Labels(ReadOnlySpan<byte> name, Span<byte> offsets)
    {
        var count = 0;
        for (var at = 0; name[at] != 0; at += name[at] + 1)
            offsets[count++] = (byte)at;
        return count;
    }

    public static void ToLower(ReadOnlySpan<byte> source, Span<byte> destination)
    {
        for (var i = 0; i < source.Length; i++)
            destination[i] = Lower(source[i]);
    }

    public static bool EqualsIgnoringCase(ReadOnlySpan<byte> a, ReadOnlySpan<byte> b)
    {
        if (a.Length != b.Length)
            return false;
        for (var i = 0; i < a.Length; i++)
        {
            if (Lower(a[i]) != Lower(b[i]))
                return false;
        }

        return true;
    }

    /// <summary>Whether <paramref name="name"/> is <paramref name="suffix"/> or below it; both whole.</summary>
    public static bool IsWithin(ReadOnlySpan<byte> name, ReadOnlySpan<byte> suffix)
    {
        var at = 0;
        while (name.Length - at > suffix.Length)
            at += name[at] + 1;
        return name.Length - at == suffix.Length && EqualsIgnoringCase(name[at..], suffix);
    }

    /// <summary>FNV-1a over the folded bytes. <paramref name="seed"/> is the process' own: a client cannot choose names that meet.</summary>
    public static ulong Hash(ReadOnlySpan<byte> name, ulong seed)
    {
        var hash = seed ^ 14695981039346656037UL;
        foreach (var b in name)
            hash = (hash ^ Lower(b)) * 1099511628211UL;
        return hash ^ (hash >> 29);
    }

    /// <summary>A name from text, with or without its last dot; null: too long, an empty label, or not ASCII. Without escapes.</summary>
    public static byte[]? FromText(string text)
    {
        ArgumentNullException.ThrowIfNull(text);
        if (text.EndsWith('.'))
            text = text[..^1];
        if (text.Length == 0)
            return [0];
        if (text.Length + 2 > DnsLimits.MaxName || !Ascii.IsValid(text))
            return null;
        var name = new byte[text.Length + 2];
        var start = 0;
        for (var i = 0; i <= text.Length; i++)
        {
            if (i < text.Length && text[i] != '.')
            {
                name[i + 1] = (byte)text[i];
                continue;
            }

            if (i == start || i - start > DnsLimits.MaxLabel)
                return null;
            name[start] = (byte)(i - start);
            start = i + 1;
        }

        return name;
    }

    /// <summary>For people: with a last dot, and everything that is no plain character as \DDD (RFC 1035, 5.1).</summary>
    public static string ToText(ReadOnlySpan<byte> name)
    {
        if (name.Length <= 1)
            return ".";
        var text = new StringBuilder(name.Length);
        for (var at = 0; at < name.Length && name[at] != 0 && at + name[at] < name.Length; at += name[at] + 1)
        {
            foreach (var b in name.Slice(at + 1, name[at]))
            {
                if (b is > 0x20 and < 0x7F and not (byte)'.' and not (byte)'\\')
                    text.Append((char)b);
                else
                    text.Append('\\').Append(b.ToString("D3"));
            }

            text.Append('.');
        }

        return text.ToString();
    }

    internal static byte Lower(byte b) => b is >= (byte)'A' and <= (byte)'Z' ? (byte)(b | 0x20) : b;
}
