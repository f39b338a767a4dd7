using EdgeMesh.Net;

namespace EdgeMesh.Netfilter.Iptables;

/// <summary>Runs <c>iptables</c>, <c>iptables-save</c> and <c>iptables-restore</c> where a machine has them under these names only,
/// as those built from source and small distributions do. Which of the two they are, they say themselves.</summary>
public sealed class PlainNames : ICommands
{
    private readonly ICommands _inner;
    private readonly Dictionary<string, string> _plain;

    private PlainNames(ICommands inner, Dictionary<string, string> plain) => (_inner, _plain) = (inner, plain);

    /// <summary>Asks the plain programs only where one of their other names is missing.</summary>
    public static async Task<ICommands> FindAsync(ICommands commands, CancellationToken cancellationToken)
    {
        ArgumentNullException.ThrowIfNull(commands);
        var plain = new Dictionary<string, string>(StringComparer.Ordinal);
        foreach (var family in Enum.GetValues<IpFamily>())
        {
            var name = family == IpFamily.IPv4 ? "iptables" : "ip6tables";
            if (Enum.GetValues<IptablesVariant>().All(variant => HasAll(commands, IptablesCommands.Name(variant, family))) || !HasAll(commands, name))
                continue;
            var answer = await commands.RunAsync(name, ["--version"], input: null, TimeSpan.FromSeconds(10), cancellationToken);
            if (answer.ExitCode != 0)
                continue;
            // Before 1.8 there was but one, and it did not say which.
            var variant = answer.Output.Contains("nf_tables", StringComparison.Ordinal) ? IptablesVariant.Nft : IptablesVariant.Legacy;
            if (!HasAll(commands, IptablesCommands.Name(variant, family)))
                plain[IptablesCommands.Name(variant, family)] = name;
        }

        return plain.Count == 0 ? commands : new PlainNames(commands, plain);
    }

    public bool Exists(string command) => _inner.Exists(Real(command));

    public IReadOnlyCollection<ChainName>? Chains(IptablesVariant variant, IpFamily family) => _inner.Chains(variant, family);

    public Task<CommandResult> RunAsync(
        string command, IReadOnlyList<string> arguments, IEnumerable<ReadOnlyMemory<char>>? input, TimeSpan deadline, CancellationToken cancellationToken) =>
        _inner.RunAsync(Real(command), arguments, input, deadline, cancellationToken);

    public Task<IReadOnlyList<string>?> ReadProcAsync(string path, CancellationToken cancellationToken) => _inner.ReadProcAsync(path, cancellationToken);

    private static bool HasAll(ICommands commands, string name) =>
        commands.Exists(name) && commands.Exists(name + "-save") && commands.Exists(name + "-restore");

    private string Real(string command)
    {
        foreach (var (name, plain) in _plain)
        {
            if (command == name || command == name + "-save" || command == name + "-restore")
                return plain + command[name.Length..];
        }

        return command;
    }
}
