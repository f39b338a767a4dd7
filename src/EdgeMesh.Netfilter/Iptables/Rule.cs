using System.Collections.Immutable;
using System.Text;

namespace EdgeMesh.Netfilter.Iptables;

/// <summary>One rule without its chain, in exactly the text in which <c>iptables -S</c> prints it, e.g.
/// <c>-d 10.96.10.1/32 -p tcp -m comment --comment "demo/web:http" -m tcp --dport 80 -j DNAT --to-destination 169.254.96.16:20007</c>.
/// Two rules are equal when their texts are: that is what makes "the kernel has what we want" an exact comparison.</summary>
internal readonly record struct Rule(string Text)
{
    /// <summary>Where the rule leads: the word after <c>-j</c> or <c>-g</c>; empty for a rule without a target.</summary>
    public string Target
    {
        get
        {
            var arguments = Arguments;
            var at = arguments.FindLastIndex(a => a is "-j" or "-g");
            return at >= 0 && at + 1 < arguments.Count ? arguments[at + 1] : "";
        }
    }

    public List<string> Arguments => Words(Text);

    /// <summary>Whether the rule leads to that chain of somebody's making; such a target is always the last word.</summary>
    public bool LeadsTo(string chain) =>
        Text.EndsWith(chain, StringComparison.Ordinal) && Text.AsSpan(0, Text.Length - chain.Length) is [.., '-', 'j' or 'g', ' '];

    /// <summary>Reads arguments in any quoting and writes them as iptables would.</summary>
    public static Rule Parse(string text)
    {
        var words = Words(text);
        // Counters stand in front as [packets:bytes] (-save -c) or as -c P B (-S -v).
        if (words.Count > 0 && words[0].StartsWith('[') && words[0].EndsWith(']'))
            words.RemoveAt(0);
        for (var i = 0; i + 2 < words.Count; i++)
        {
            if (words[i] == "-c" && words[i + 1].All(char.IsAsciiDigit) && words[i + 2].All(char.IsAsciiDigit))
            {
                words.RemoveRange(i, 3);
                break;
            }
        }

        var canonical = new StringBuilder(text.Length);
        for (var i = 0; i < words.Count; i++)
        {
            if (i > 0)
                canonical.Append(' ');
            canonical.Append(i > 0 && words[i - 1] is "--comment" ? Quote(words[i]) : QuoteIfNeeded(words[i]));
        }

        return new Rule(canonical.ToString());
    }

    /// <summary>iptables' own rule (xtables_save_string): letters, digits, <c>_</c> and <c>-</c> stand bare, all else is quoted.</summary>
    public static string Quote(string value)
    {
        if (value.Length > 0 && value.All(c => char.IsAsciiLetterOrDigit(c) || c is '_' or '-'))
            return value;
        var text = new StringBuilder(value.Length + 2).Append('"');
        foreach (var c in value)
        {
            if (c is '"' or '\\' or '\'')
                text.Append('\\');
            text.Append(c);
        }

        return text.Append('"').ToString();
    }

    /// <summary>A comment that iptables takes: at most 255 bytes, and no line end, which would start a new command.</summary>
    public static string Comment(string comment)
    {
        var clean = new StringBuilder(Math.Min(comment.Length, 255));
        foreach (var c in comment)
        {
            if (clean.Length == 255)
                break;
            clean.Append(c is < ' ' or > '~' ? '?' : c);
        }

        return Quote(clean.ToString());
    }

    private static string QuoteIfNeeded(string word) =>
        word.Length == 0 || word.AsSpan().IndexOfAny(" \t\"'\\") >= 0 ? Quote(word) : word;

    /// <summary>iptables-restore's splitting: quotes join words, a backslash inside quotes takes the next character as it is.</summary>
    internal static List<string> Words(string text)
    {
        var words = new List<string>();
        var word = new StringBuilder();
        var started = false;
        var quoted = false;
        for (var i = 0; i < text.Length; i++)
        {
            var c = text[i];
            if (quoted && c == '\\' && i + 1 < text.Length)
            {
                word.Append(text[++i]);
            }
            else if (c == '"')
            {
                quoted = !quoted;
                started = true;
            }
            else if (!quoted && (c is ' ' or '\t' or '\n'))
            {
                if (started || word.Length > 0)
                    words.Add(word.ToString());
                word.Clear();
                started = false;
            }
            else
            {
                word.Append(c);
            }
        }

        if (started || word.Length > 0)
            words.Add(word.ToString());
        return words;
    }
}

/// <summary>One chain as it stands. <see cref="Policy"/> is <c>-</c> for a chain that somebody made.</summary>
internal sealed record Chain(string Name, string Policy, ImmutableArray<Rule> Rules);
