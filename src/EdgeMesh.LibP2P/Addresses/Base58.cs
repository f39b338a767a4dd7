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
        bytes = [];
        if (text.IsEmpty || text.Length > MaxText)
            return false;
        var zeros = 0;
        while (zeros < text.Length && text[zeros] == '1')
            zeros++;

        Span<byte> reversed = stackalloc byte[MaxText];
        var length = 0;
        foreach (var c in text[zeros..])
        {
            var carry = Alphabet.IndexOf(c);
            if (carry < 0)
                return false;
            for (var i = 0; i < length || carry > 0; i++)
            {
                carry += i < length ? reversed[i] * 58 : 0;
                reversed[i] = (byte)carry;
                carry >>= 8;
                length = Math.Max(length, i + 1);
            }
        }

        bytes = new byte[zeros + length];
        for (var i = 0; i < length; i++)
            bytes[zeros + i] = reversed[length - 1 - i];
        return true;
    }
}
