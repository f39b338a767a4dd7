using System.Text;

namespace EdgeMesh.Netfilter.Iptables;

/// <summary>The text for one <c>iptables-restore --noflush</c>: one table, one commit. Chains are declared (and so emptied) first
/// and deleted last, whatever the order of the calls.</summary>
internal sealed class Transaction(string table)
{
    private readonly List<string> declarations = [];
    private readonly StringBuilder changes = new();
    private readonly StringBuilder deletions = new();

    public int Added { get; private set; }

    public int Removed { get; set; }

    public int Lines { get; private set; } = 2;

    public bool IsEmpty => declarations.Count + changes.Length + deletions.Length == 0;

    /// <summary>Makes the chain, or empties it.</summary>
    public void Declare(string chain)
    {
        declarations.Add(chain);
        Lines++;
    }

    public void Append(string chain, Rule rule)
    {
        changes.Append("-A ").Append(chain).Append(' ').Append(rule.Text).Append('\n');
        Added++;
        Lines++;
    }

    /// <param name="position">1-based.</param>
    public void Insert(string chain, int position, Rule rule)
    {
        changes.Append("-I ").Append(chain).Append(' ').Append(position).Append(' ').Append(rule.Text).Append('\n');
        Added++;
        Lines++;
    }

    /// <summary>By its text and not by its number: should the kernel have something else there, it fails and changes nothing.</summary>
    public void Delete(string chain, Rule rule)
    {
        changes.Append("-D ").Append(chain).Append(' ').Append(rule.Text).Append('\n');
        Removed++;
        Lines++;
    }

    public void DeleteChain(string chain)
    {
        deletions.Append("-X ").Append(chain).Append('\n');
        Lines++;
    }

    public void Fill(string chain, IEnumerable<Rule> rules)
    {
        Declare(chain);
        foreach (var rule in rules)
            Append(chain, rule);
    }

    /// <summary>In pieces; as one string the text of 10,000 services with 10 endpoints would be 30 MB of memory that is slow to come back.</summary>
    public IEnumerable<ReadOnlyMemory<char>> Text()
    {
        if (IsEmpty)
            yield break;
        // iptables-nft keeps its chains in a list ordered by name and walks it from the front for each new one:
        // from the last name to the first, each finds its place at once.
        declarations.Sort((a, b) => string.CompareOrdinal(b, a));
        yield return $"*{table}\n".AsMemory();
        foreach (var chain in declarations)
            yield return $":{chain} - [0:0]\n".AsMemory();
        foreach (var piece in changes.GetChunks())
            yield return piece;
        foreach (var piece in deletions.GetChunks())
            yield return piece;
        yield return "COMMIT\n".AsMemory();
    }

    public override string ToString() => string.Concat(Text());
}
