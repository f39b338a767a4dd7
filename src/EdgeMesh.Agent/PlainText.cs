using System.Globalization;
using System.Text;

namespace EdgeMesh.Agent;

/// <summary>Makes any text fit to be shown. Names come from manifests, APIs and peers, and a terminal obeys what it is sent:
/// escape sequences rewrite the screen, a carriage return hides what stands before it, and marks of writing direction show
/// another order than the true one. All that is shown to people or written to logs goes through here.</summary>
internal static class PlainText
{
    /// <summary>One line: control characters and characters that cannot be seen stand as <c>\x1b</c> or <c>\u202e</c>.</summary>
    public static string Of(string text) => Escape(text, keepLines: false);

    /// <summary>The same, and line ends stay.</summary>
    public static string Lines(string text) => Escape(text, keepLines: true);

    private static string Escape(string text, bool keepLines)
    {
        var at = 0;
        while (at < text.Length && text[at] is >= ' ' and < '\x7f')
            at++;
        if (at == text.Length)
            return text;
        var result = new StringBuilder(text.Length + 16).Append(text, 0, at);
        while (at < text.Length)
        {
            // Half a pair comes out as U+FFFD, which can be seen.
            Rune.DecodeFromUtf16(text.AsSpan(at), out var rune, out var length);
            at += length;
            if (rune.Value == '\n' && keepLines)
                result.Append('\n');
            else if (IsHarmless(rune))
                result.Append(rune.ToString());
            else
                Append(result, rune.Value);
        }

        return result.ToString();
    }

    private static bool IsHarmless(Rune rune) => Rune.GetUnicodeCategory(rune) is not
        (UnicodeCategory.Control or UnicodeCategory.Format or UnicodeCategory.LineSeparator or UnicodeCategory.ParagraphSeparator
        or UnicodeCategory.PrivateUse or UnicodeCategory.OtherNotAssigned or UnicodeCategory.Surrogate);

    private static void Append(StringBuilder result, int value)
    {
        _ = value switch
        {
            '\n' => result.Append("\\n"),
            '\r' => result.Append("\\r"),
            '\t' => result.Append("\\t"),
            <= 0xFF => result.Append(CultureInfo.InvariantCulture, $"\\x{value:x2}"),
            <= 0xFFFF => result.Append(CultureInfo.InvariantCulture, $"\\u{value:x4}"),
            _ => result.Append(CultureInfo.InvariantCulture, $"\\U{value:x8}"),
        };
    }
}
