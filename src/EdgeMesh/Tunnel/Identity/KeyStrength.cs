using System.Buffers.Text;
using System.Text;

namespace EdgeMesh.Tunnel.Identity;

/// <summary>Judges whether a pre-shared key could be guessed. A key is made by a generator, and what a generator makes passes;
/// what a person thought of is measured, and every doubt counts against it: the key is not stretched, and guesses can be tried
/// offline.</summary>
internal static class KeyStrength
{
    public const int LeastBits = 128;

    /// <summary>Printed in EdgeMesh's documents and in the default values of its chart, and from there in many clusters.</summary>
    private const string PublicKey = "JugH9HP1XBouyO5pWGeZa8LtipDURrf17EJvUHcJGuQ=";

    /// <summary>A repeat of something that stood before costs a guesser no more than where and how long.</summary>
    private const double RepeatBits = 8;

    private const int ShortestRepeat = 3;

    /// <summary>The part of all pairs of letters that <see cref="Pairs"/> holds.</summary>
    private const double ByChance = 179 / (26.0 * 26);

    /// <summary>What people type: rows of the keyboard, the alphabet, digits, and words of passwords.</summary>
    private const string Known =
        "qwertyuiop asdfghjkl zxcvbnm qwertzuiop yxcvbnm qazwsxedcrfvtgbyhnujmikolp 1q2w3e4r5t6y7u8i9o0p abcdefghijklmnopqrstuvwxyz 01234567890 "
        + "password passwort passwd secret geheim admin administrator changeme letmein welcome default example test testing private "
        + "edgemesh kubeedge kubernetes cluster edgetunnel presharedkey pre-shared psk token master correct horse battery staple the quick brown fox jumps over lazy dog";

    private static readonly string Primer = Known + " " + new string([.. Known.Reverse()]) + " ";

    /// <summary>The commonest pairs of letters in texts of European languages. Random letters form one of them one time in four.</summary>
    private static readonly HashSet<string> Pairs =
    [
        .. ("th he in er an re on at en nd ti es or te of ed is it al ar st to nt ng se ha as ou io le ve co me de hi ri ro ic ne ea ra ce "
            + "li ch ll be ma si om ur ca el ta la ns di fo ho pe ec pr no ct us ac ot il tr ly nc et ut ss so rs un lo wa ge ie wh ee wi em ad "
            + "ol rt po we na ul ni ts mo ow pa im mi ai sh ir su id os iv ia am fi ci vi pl ig tu ev ld ry mp fe bl ab gh ty op wo sa ay ex ke "
            + "fr oo av ag if ap gr od bo sp rd do uc bu ei ov by rm ep tt oc fa ef cu rn sc gi da yo cr cl du ga qu ue ff ba ey ls va um pp ua up lu "
            + "ck ok ki ak ek sk").Split(' '),
    ];

    /// <returns>Why the key is no secret; null where it is a good one.</returns>
    public static string? FaultOf(string key)
    {
        if (key.Trim().TrimEnd('=') == PublicKey.TrimEnd('='))
            return "is the one that is printed in EdgeMesh's documents and chart, so anybody has it";
        return Bits(key) >= LeastBits ? null : "is too short or too regular and could be guessed";
    }

    private static double Bits(string key)
    {
        // A UUID has six bits that are always the same.
        if (Guid.TryParse(key, out _) && key.Contains('-', StringComparison.Ordinal))
            return 122;
        if (key.Length % 2 == 0 && key.All(char.IsAsciiHexDigit))
            return MeasureDecoded(Convert.FromHexString(key));
        var bits = Measure(key);
        var plain = key.Replace('+', '-').Replace('/', '_').TrimEnd('=');
        return plain.Length % 4 != 1 && Base64Url.IsValid(plain) ? Math.Min(bits, MeasureDecoded(Base64Url.DecodeFromChars(plain))) : bits;
    }

    /// <summary>A lower estimate of what a guesser has to try, as a power of two.</summary>
    private static double Measure(string text)
    {
        var folded = Fold(text);
        var benefit = IsFormOfGenerator(text) ? 3 : 0;
        // Read with digits as letters, chance makes more pairs of words.
        return IsLanguage(text.ToLowerInvariant(), 5 + benefit) || IsLanguage(folded, 6.5 + benefit) ? text.Length : Novelty(folded, BitsOfCharacter(text), Primer);
    }

    /// <summary>Base64 to its last sign, in which capitals and small letters are mixed as chance mixes them: no sentence is written
    /// so, and one key of 50,000 that a generator made would else be taken for one.</summary>
    private static bool IsFormOfGenerator(string text)
    {
        var capitals = text.Count(char.IsAsciiLetterUpper);
        var small = text.Count(char.IsAsciiLetterLower);
        return text.EndsWith('=') && Base64.IsValid(text) && Math.Min(capitals, small) * 10 >= (capitals + small) * 3;
    }

    private static double MeasureDecoded(byte[] bytes)
    {
        // Bytes of a generator are printable all together once in 10^13 keys of 32 bytes: this is a text that somebody encoded.
        if (bytes.All(b => b is >= 0x20 and < 0x7F or (byte)'\n' or (byte)'\r'))
            return Measure(Encoding.ASCII.GetString(bytes).Trim());
        return Novelty(Encoding.Latin1.GetString(bytes), 8, "");
    }

    private static double BitsOfCharacter(string text)
    {
        if (text.All(char.IsAsciiHexDigit))
            return text.All(char.IsAsciiDigit) ? Math.Log2(10) : 4;
        var alphabet = 0;
        alphabet += text.Any(char.IsAsciiLetterLower) ? 26 : 0;
        alphabet += text.Any(char.IsAsciiLetterUpper) ? 26 : 0;
        alphabet += text.Any(char.IsAsciiDigit) ? 10 : 0;
        alphabet += text.Any(c => !char.IsAsciiLetterOrDigit(c) && c != '=') ? 2 : 0;
        return Math.Log2(Math.Max(alphabet, 2));
    }

    /// <summary>Goes through the text as a compressor does: what repeats, or goes on as a sequence began, is hardly new.</summary>
    private static double Novelty(string text, double bitsOfSymbol, string primer)
    {
        var all = primer + text;
        var bits = 0.0;
        for (var i = primer.Length; i < all.Length;)
        {
            var repeat = LongestRepeat(all, i);
            if (repeat >= ShortestRepeat && RepeatBits < repeat * bitsOfSymbol)
            {
                bits += RepeatBits;
                i += repeat;
                continue;
            }

            var goesOn = i >= primer.Length + 3 && all[i] - all[i - 1] == all[i - 1] - all[i - 2] && all[i - 1] - all[i - 2] == all[i - 2] - all[i - 3];
            bits += goesOn ? 1 : bitsOfSymbol;
            i++;
        }

        return bits;
    }

    private static int LongestRepeat(string all, int at)
    {
        var longest = 0;
        for (var from = 0; from < at; from++)
        {
            var length = 0;
            while (at + length < all.Length && all[from + length] == all[at + length])
                length++;
            longest = Math.Max(longest, length);
        }

        return longest;
    }

    /// <summary>Whether most neighbouring letters are such as stand together in words.</summary>
    private static bool IsLanguage(string folded, double deviations)
    {
        var pairs = 0;
        var common = 0;
        for (var i = 1; i < folded.Length; i++)
        {
            if (!char.IsAsciiLetter(folded[i - 1]) || !char.IsAsciiLetter(folded[i]))
                continue;
            pairs++;
            if (Pairs.Contains(folded.Substring(i - 1, 2)))
                common++;
        }

        // So many standard deviations above what chance makes.
        return pairs >= 12 && common > (pairs * ByChance) + (deviations * Math.Sqrt(pairs * ByChance * (1 - ByChance)));
    }

    /// <summary>As a guesser reads it: capitals and the usual digits and signs in place of letters change little.</summary>
    private static string Fold(string text) => string.Create(text.Length, text, (into, from) =>
    {
        // A row of digits is a number; one among letters stands for a letter.
        var letters = from.Count(char.IsAsciiLetter) * 2 > from.Length;
        for (var i = 0; i < into.Length; i++)
        {
            into[i] = (letters, char.ToLowerInvariant(from[i])) switch
            {
                (true, '0') => 'o',
                (true, '1' or '!') => 'i',
                (true, '3') => 'e',
                (true, '4' or '@') => 'a',
                (true, '5' or '$') => 's',
                (true, '7') => 't',
                (_, var c) => c,
            };
        }
    });
}
