using System.Text;

namespace EdgeMesh.Netfilter.Iptables;

/// <summary>The text for one <c>iptables-restore --noflush</c>: one table, one commit. Chains are declared (and so emptied) first
/// and deleted last, whatever the order of the calls.</summary>
internal sealed class Transaction(string table)
{
    private readonly StringBuilder declarations = new();
    private readonly StringBuilder changes = new();
    private readonly StringBuilder deletions = new();

    public int Added { get; private set; }

    public int Removed { get; set; }

    public bool IsEmpty => declarations.Length + changes.Length + deletions.Length == 0;

    /// <summary>Makes the chain, or empties it.</summary>
    public void Declare(string chain) => declarations.Append(':').Append(chain).Append(" - [0:0]\n");

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

    public override string ToString() => IsEmpty ? "" : $"*{table}\n{declarations}{changes}{deletions}COMMIT\n";
}
