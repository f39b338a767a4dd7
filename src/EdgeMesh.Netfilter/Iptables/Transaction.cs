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

    public bool IsEmpty => declarations.Count + changes.Length + deletions.Length == 0;

    /// <summary>Makes the chain, or empties it.</summary>
    public void Declare(string chain) => declarations.Add(chain);

    public void Append(string chain, Rule rule)
    {
        changes.Append("-A ").Append(chain).Append(' ').Append(rule.Text).Append('\n');
        Added++;
    }

    /// <param name="position">1-based.</param>
    public void Insert(string chain, int position, Rule rule)
    {
        changes.Append("-I ").Append(chain).Append(' ').Append(position).Append(' ').Append(rule.Text).Append('\n');
        Added++;
    }

    /// <summary>By its text and not by its number: should the kernel have something else there, it fails and changes nothing.</summary>
    public void Delete(string chain, Rule rule)
    {
        changes.Append("-D ").Append(chain).Append(' ').Append(rule.Text).Append('\n');
        Removed++;
    }

    public void DeleteChain(string chain) => deletions.Append("-X ").Append(chain).Append('\n');

    public void Fill(string chain, IEnumerable<Rule> rules)
    {
        Declare(chain);
        foreach (var rule in rules)
            Append(chain, rule);
    }

    public override string ToString()
    {
        if (IsEmpty)
            return "";
        // iptables-nft keeps its chains in a list ordered by name and walks it from the front for each new one:
        // from the last name to the first, each finds its place at once.
        declarations.Sort((a, b) => string.CompareOrdinal(b, a));
        var text = new StringBuilder($"*{table}\n", changes.Length + deletions.Length + (declarations.Count * 40) + 16);
        foreach (var chain in declarations)
            text.Append(':').Append(chain).Append(" - [0:0]\n");
        return text.Append(changes).Append(deletions).Append("COMMIT\n").ToString();
    }
}
