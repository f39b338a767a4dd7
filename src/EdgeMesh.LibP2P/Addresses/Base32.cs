namespace EdgeMesh.LibP2P.Addresses;

/// <summary>RFC 4648 base32, lower case and without padding, as multibase's letter b means it; reading only.</summary>
internal static class Base32
{
    private const int MaxText = 128;

    internal static bool TryDecode(ReadOnlySpan<char> text, out byte[] bytes)
    {
        bytes = [];
        if (text.IsEmpty || text.Length > MaxText)
            return false;
        var decoded = new byte[text.Length * 5 / 8];
        uint bits = 0;
        var held = 0;
        var at = 0;
        foreach (var c in text)
        {
            int value = c switch
            {
                >= 'a' and <= 'z' => c - 'a',
                >= '2' and <= '7' => c - '2' + 26,
                _ => -1,
            };
            if (value < 0)
                return false;
            bits = (bits << 5) | (uint)value;
            held += 5;
            if (held >= 8)
            {
                held -= 8;
                decoded[at++] = (byte)(bits >> held);
                bits &= (1u << held) - 1;
            }
        }

        // What is left over pads the last byte with zeros; anything else would be a second text for the same bytes.
        if (held >= 5 || bits != 0)
            return false;
        bytes = decoded;
        return true;
    }
}
