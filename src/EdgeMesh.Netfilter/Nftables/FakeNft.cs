using System.Text;
using System.Text.RegularExpressions;

namespace EdgeMesh.Netfilter.Nftables;

/// <summary>Behaves like nft and the kernel for the commands that this backend sends: transactions are atomic, and what
/// the kernel refuses is refused with its words. The same test cases run over this and the real one.</summary>
internal sealed partial class FakeNft : INft
{
    private const string Exists = "File exists";
    private const string NotFound = "No such file or directory";
    private const string Busy = "Device or resource busy";

    private Dictionary<string, Table> tables = new(StringComparer.Ordinal);

    /// <summary>The texts that were applied, first to last.</summary>
    public List<string> Applied { get; } = [];

    /// <summary>What the next transactions are refused with; null: they are judged.</summary>
    public string? RefuseWith { get; set; }

    public async Task<NftAnswer> RunAsync(NftTransaction transaction, bool checkOnly, NftTransaction.Step from, NftTransaction.Step to, CancellationToken cancellationToken)
    {
        using var text = new MemoryStream();
        await transaction.WriteToAsync(text, from, to, cancellationToken);
        return Run(Encoding.UTF8.GetString(text.ToArray()), checkOnly);
    }

    public NftAnswer Run(string text, bool checkOnly = false)
    {
        if (RefuseWith is not null && !checkOnly)
            return new NftAnswer(1, string.Empty, RefuseWith);
        var before = tables;
        tables = before.ToDictionary(t => t.Key, t => t.Value.Copy(), StringComparer.Ordinal);
        var errors = new StringBuilder();
        foreach (var line in text.Split('\n', StringSplitOptions.RemoveEmptyEntries))
        {
            if (Execute(line) is { } error)
                errors.Append($"Error: Could not process rule: {error}\n{line}\n");
        }

        if (errors.Length > 0 || checkOnly)
            tables = before;
        else
            Applied.Add(text);
        return new NftAnswer(errors.Length > 0 ? 1 : 0, string.Empty, errors.ToString());
    }

    public Task<NftAnswer> ListAsync(string what, CancellationToken cancellationToken)
    {
        var words = what.Split(' ');
        if (!tables.TryGetValue($"{words[1]} {words[2]}", out var table) || (words[0] == "set" && !table.Sets.ContainsKey(words[3])))
            return Task.FromResult(new NftAnswer(1, string.Empty, $"Error: {NotFound}"));
        var text = new StringBuilder($"table {words[1]} {words[2]} {{\n");
        foreach (var (name, set) in table.Sets.Where(s => words[0] == "table" || s.Key == words[3]))
        {
            text.Append($"\t{set.Kind} {name} {{\n\t\t{set.Spec}\n");
            if (set.Elements.Count > 0)
                text.Append($"\t\telements = {{ {string.Join(",\n\t\t\t     ", set.Elements.Values)} }}\n");
            text.Append("\t}\n\n");
        }

        if (words[0] == "table")
        {
            foreach (var (name, chain) in table.Chains)
                text.Append($"\tchain {name} {{\n{string.Concat(chain.Lines.Select(l => $"\t\t{l}\n"))}\t}}\n\n");
        }

        return Task.FromResult(new NftAnswer(0, text.Append("}\n").ToString(), string.Empty));
    }

    private string? Execute(string line)
    {
        var match = CommandText().Match(line);
        if (!match.Success)
            return $"syntax error in: {line}";
        var verb = match.Groups["verb"].Value;
        var kind = match.Groups["kind"].Value;
        var tableName = match.Groups["table"].Value;
        var rest = match.Groups["rest"].Value.Trim();
        if (kind == "table")
            return ExecuteTable(verb, tableName);
        if (!tables.TryGetValue(tableName, out var table))
            return NotFound;
        var space = rest.IndexOf(' ', StringComparison.Ordinal);
        var name = space < 0 ? rest : rest[..space];
        var detail = space < 0 ? string.Empty : rest[(space + 1)..];
        return kind switch
        {
            "chain" => ExecuteChain(verb, table, name, Inside(detail)),
            "rule" => ExecuteRule(table, name, detail),
            "element" => ExecuteElements(verb, table, name, Inside(detail)),
            _ => ExecuteSet(verb, table, kind, name, Inside(detail)),
        };
    }

    private string? ExecuteTable(string verb, string name)
    {
        if (verb == "create" && tables.ContainsKey(name))
            return Exists;
        if (verb is "add" or "create")
            tables.TryAdd(name, new Table());
        else if (!tables.Remove(name))
            return NotFound;
        return null;
    }

    private static string? ExecuteChain(string verb, Table table, string name, string hook)
    {
        var there = table.Chains.TryGetValue(name, out var chain);
        switch (verb)
        {
            case "create" when there:
                return Exists;
            case "add" or "create":
                table.Chains.TryAdd(name, new Chain { Hook = hook.Length == 0 ? null : hook });
                return null;
            case "flush" or "delete" when !there:
                return NotFound;
            case "flush":
                chain!.Rules.Clear();
                return null;
            default:
                if (table.Texts(except: name).Any(text => RefersTo(text, $"goto {name}")))
                    return Busy;
                table.Chains.Remove(name);
                return null;
        }
    }

    private static string? ExecuteRule(Table table, string chain, string rule)
    {
        if (!table.Chains.TryGetValue(chain, out var target))
            return NotFound;
        if (GotoTarget().Matches(rule).Any(m => !table.Chains.ContainsKey(m.Groups[1].Value))
            || SetReference().Matches(rule).Any(m => !table.Sets.ContainsKey(m.Groups[1].Value)))
            return NotFound;
        target.Rules.Add(rule);
        return null;
    }

    private static string? ExecuteSet(string verb, Table table, string kind, string name, string spec)
    {
        var there = table.Sets.ContainsKey(name);
        if (verb == "create" && there)
            return Exists;
        if (verb is "add" or "create")
        {
            table.Sets.TryAdd(name, new Set { Kind = kind, Spec = spec });
            return null;
        }

        if (!there)
            return NotFound;
        if (table.Texts(except: null).Any(text => RefersTo(text, $"@{name}")))
            return Busy;
        table.Sets.Remove(name);
        return null;
    }

    private static string? ExecuteElements(string verb, Table table, string name, string elements)
    {
        if (!table.Sets.TryGetValue(name, out var set))
            return NotFound;
        foreach (var element in elements.Split(',', StringSplitOptions.TrimEntries | StringSplitOptions.RemoveEmptyEntries))
        {
            var key = KeyEnd().Split(element, 2)[0];
            if (verb == "delete")
            {
                if (!set.Elements.Remove(key))
                    return NotFound;
                continue;
            }

            if (GotoTarget().Matches(element).Any(m => !table.Chains.ContainsKey(m.Groups[1].Value)))
                return NotFound;
            var isMap = element.Contains(" : ", StringComparison.Ordinal);
            if (!set.Elements.TryAdd(key, element) && isMap && set.Elements[key] != element)
                return Exists;
        }

        return null;
    }

    private static string Inside(string braces) => braces.Length == 0 ? braces : braces.Trim()[1..^1].Trim();

    private static bool RefersTo(string text, string reference)
    {
        var at = text.IndexOf(reference, StringComparison.Ordinal);
        return at >= 0 && (at + reference.Length == text.Length || text[at + reference.Length] is ' ' or ',');
    }

    [GeneratedRegex("^(?<verb>add|create|delete|flush) (?<kind>table|chain|rule|set|map|element) (?<table>ip6? [^ ]+)(?<rest>.*)$", RegexOptions.ExplicitCapture, matchTimeoutMilliseconds: 1000)]
    private static partial Regex CommandText();

    [GeneratedRegex("goto ([^ ,]+)", RegexOptions.None, matchTimeoutMilliseconds: 1000)]
    private static partial Regex GotoTarget();

    [GeneratedRegex("@([^ ,]+)", RegexOptions.None, matchTimeoutMilliseconds: 1000)]
    private static partial Regex SetReference();

    [GeneratedRegex(" : | comment | timeout ", RegexOptions.None, matchTimeoutMilliseconds: 1000)]
    private static partial Regex KeyEnd();

    private sealed class Table
    {
        public Dictionary<string, Chain> Chains { get; private init; } = new(StringComparer.Ordinal);

        public Dictionary<string, Set> Sets { get; private init; } = new(StringComparer.Ordinal);

        public Table Copy() => new()
        {
            Chains = Chains.ToDictionary(c => c.Key, c => c.Value.Copy(), StringComparer.Ordinal),
            Sets = Sets.ToDictionary(s => s.Key, s => s.Value.Copy(), StringComparer.Ordinal),
        };

        /// <summary>Everything that can refer to a chain or a set; a chain's own rules go with it.</summary>
        public IEnumerable<string> Texts(string? except) =>
            Chains.Where(c => c.Key != except).SelectMany(c => c.Value.Rules).Concat(Sets.Values.SelectMany(s => s.Elements.Values));
    }

    private sealed class Chain
    {
        public string? Hook { get; init; }

        public List<string> Rules { get; private init; } = [];

        public IEnumerable<string> Lines => Hook is null ? Rules : [Hook, .. Rules];

        public Chain Copy() => new() { Hook = Hook, Rules = [.. Rules] };
    }

    private sealed class Set
    {
        public required string Kind { get; init; }

        public required string Spec { get; init; }

        public Dictionary<string, string> Elements { get; private init; } = new(StringComparer.Ordinal);

        public Set Copy() => new() { Kind = Kind, Spec = Spec, Elements = new(Elements, StringComparer.Ordinal) };
    }
}
