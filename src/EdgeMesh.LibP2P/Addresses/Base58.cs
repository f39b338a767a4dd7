namespace EdgeMesh.LibP2P.Addresses;

/// <summary>Base58 with bitcoin's alphabet, for texts as long as a peer id.</summary>
internal static class Base58
{
    private const string Alphabet = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";

    /// <summary>More than any peer id needs; the cost of decoding grows with the square.</summary>
    private const int MaxText = 128;

    internal static string Encode(ReadOnlySpan<byte> bytes)
    {
        var zeros = 0;
        while (zeros < bytes.Length && bytes[zeros] == 0)
            zeros++;

        Span<byte> digits = stackalloc byte[bytes.Length * 138 / 100 + 1];
        var length = 0;
        foreach (var b in bytes[zeros..])
        {
            int carry = b;
            for (var i = 0; i < length || carry > 0; i++)
            {
                carry += i < length ? digits[i] << 8 : 0;
                digits[i] = (byte)(carry % 58);
                carry /= 58;
                length = Math.Max(length, i + 1);
            }
        }

        Span<char> text = stackalloc char[zeros + length];
        text[..zeros].Fill('1');
        for (var i = 0; i < length; i++)
            text[zeros + i] = Alphabet[digits[length - 1 - i]];
        return new string(text);
    }

    internal static bool TryDecode(ReadOnlySpan<char> text, out byte[] bytes)
    {
        Span<byte> whole = stackalloc byte[MaxText];
        var isRead = TryDecode(text, whole, out var length);
        bytes = whole[..length].ToArray();
        return isRead;
    }

    /// <summary>As above, without an allocation.</summary>
    /// <param name="destination">What does not fit is no text that is wanted.</param>
    internal static bool TryDecode(ReadOnlySpan<char> text, Span<byte> destination, out int length)
    {
        length = 0;
        if (text.IsEmpty || text.Length > MaxText)
            return false;
        var zeros = 0;
        while (zeros < text.Length && text[zeros] == '1')
            zeros++;

        Span<byte> reversed = stackalloc byte[MaxText];
        var digits = 0;
        foreach (var c in text[zeros..])
        {
            var carry = Alphabet.IndexOf(c);
            if (carry < 0)
                return false;
            for (var i = 0; i < digits || carry > 0; i++)
            {
                carry += i < digits ? reversed[i] * 58 : 0;
                reversed[i] = (byte)carry;
                carry >>= 8;
                digits = Math.Max(digits, i + 1);
            }
        }

        if (zeros + digits > destination.Length)
            return false;
        length = zeros + digits;
        destination[..zeros].Clear();
        for (var i = 0; i < digits; i++)
            destination[zeros + i] = reversed[digits - 1 - i];
        return true;
    }
}
