using System.Collections.Immutable;

namespace EdgeMesh.Netfilter.Iptables;

/// <summary>Reads what <c>iptables-save</c> and <c>iptables -S</c> print.</summary>
internal sealed class SavedTables
{
    private readonly Dictionary<(string Table, string Chain), (string Policy, List<Rule> Rules)> chains = [];

    public static SavedTables Empty { get; } = new();

    public IEnumerable<Chain> ChainsOf(string table) =>
        chains.Where(c => c.Key.Table == table).Select(c => new Chain(c.Key.Chain, c.Value.Policy, [.. c.Value.Rules]));

    public bool HasChain(string table, string chain) => chains.ContainsKey((table, chain));

    /// <summary>The rules of a chain; empty when it is missing.</summary>
    public IReadOnlyList<Rule> Rules(string table, string chain) =>
        chains.TryGetValue((table, chain), out var found) ? found.Rules : [];

    public IEnumerable<string> Names(string table) =>
        chains.Keys.Where(k => k.Table == table).Select(k => k.Chain);

    public int RuleCount => chains.Values.Sum(c => c.Rules.Count);

    /// <param name="text">Output of <c>iptables-save</c>; with <c>-S</c> output, name the <paramref name="table"/> that was asked for.</param>
    public static SavedTables Parse(string text, string table = "")
    {
        var saved = new SavedTables();
        foreach (var span in text.AsSpan().EnumerateLines())
        {
            var line = span.TrimEnd();
            if (line.IsEmpty || line[0] == '#')
                continue;
            if (line[0] == '*')
                table = line[1..].ToString();
            else if (line[0] == ':')
                saved.Declare(table, line[1..].ToString().Split(' '));
            else if (line.StartsWith("-N ") || line.StartsWith("-P "))
                saved.Declare(table, line[3..].ToString().Split(' '));
            else
                saved.Append(table, line.ToString());
        }

        return saved;
    }

    private void Declare(string table, string[] words)
    {
        var policy = words.Length > 1 ? words[1] : "-";
        chains[(table, words[0])] = (policy, Rules: chains.TryGetValue((table, words[0]), out var known) ? known.Rules : []);
    }

    private void Append(string table, string line)
    {
        var at = line.IndexOf("-A ", StringComparison.Ordinal);
        if (at < 0)
            return;
        var counters = line[..at];
        var rest = line[(at + 3)..];
        var space = rest.IndexOf(' ', StringComparison.Ordinal);
        var chain = space < 0 ? rest : rest[..space];
        var body = space < 0 ? "" : rest[(space + 1)..];
        if (counters.Length > 0 && counters[0] != '[')
            return;
        if (!chains.TryGetValue((table, chain), out var found))
            chains[(table, chain)] = found = ("-", []);
        // The text is canonical already; only a printed counter would make it differ.
        found.Rules.Add(body.Contains("-c ", StringComparison.Ordinal) ? Rule.Parse(body) : new Rule(body));
    }
}
