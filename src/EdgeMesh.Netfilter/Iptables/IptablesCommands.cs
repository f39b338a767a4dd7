using System.Text.RegularExpressions;
using EdgeMesh.Net;

namespace EdgeMesh.Netfilter.Iptables;

/// <summary>The commands of one variant and family.</summary>
internal sealed partial class IptablesCommands(ICommands commands, IptablesVariant variant, IpFamily family)
{
    // How long a command waits for the lock that legacy commands share; another holder is retried by the caller.
    private const string LockSeconds = "5";

    private static readonly TimeSpan Deadline = TimeSpan.FromSeconds(90);

    // 120,000 lines take iptables-nft 7 s of a core; a machine that is busy with other things took more than ten times as long.
    private static readonly TimeSpan DeadlinePerLine = TimeSpan.FromMilliseconds(2);

    private readonly string name = Name(variant, family);

    public bool Exists => commands.Exists(name + "-restore") && commands.Exists(name + "-save") && commands.Exists(name);

    public static string Name(IptablesVariant variant, IpFamily family) =>
        (family == IpFamily.IPv4 ? "iptables-" : "ip6tables-") + (variant == IptablesVariant.Nft ? "nft" : "legacy");

    /// <summary>As <see cref="ICommands.Chains"/>.</summary>
    public IReadOnlyCollection<ChainName>? Chains() => commands.Chains(variant, family);

    /// <summary>The tables that exist; looking makes none. Merely asking iptables-legacy for a table would make it.</summary>
    public async Task<SavedTables> SaveAsync(IReadOnlyList<string> tables, CancellationToken cancellationToken)
    {
        if (variant == IptablesVariant.Legacy)
        {
            var existing = await commands.ReadProcAsync(
                family == IpFamily.IPv4 ? "/proc/net/ip_tables_names" : "/proc/net/ip6_tables_names", cancellationToken);
            tables = [.. tables.Where(t => existing?.Contains(t) == true)];
        }

        var text = "";
        foreach (var table in tables)
        {
            var result = await commands.RunAsync(name + "-save", ["-t", table], input: null, Deadline, cancellationToken);
            if (result.ExitCode != 0)
                throw Failed($"{name}-save -t {table}", result, "");
            if (result.Output.Contains("is incompatible, use 'nft' tool", StringComparison.Ordinal))
                throw new NetfilterException($"`{name}-save -t {table}` cannot read the table: somebody has put rules into it with nft. Move them to a table of their own.");
            text += result.Output;
        }

        return SavedTables.Parse(text);
    }

    /// <summary>One chain, or null when it is missing.</summary>
    public async Task<string?> ListAsync(string chain, CancellationToken cancellationToken, string table = "nat")
    {
        var result = await commands.RunAsync(name, ["-w", LockSeconds, "-t", table, "-S", chain], input: null, Deadline, cancellationToken);
        return result.ExitCode switch
        {
            0 => result.Output,
            1 => null,
            _ => throw Failed($"{name} -t {table} -S {chain}", result, ""),
        };
    }

    /// <summary>All of it or nothing.</summary>
    public async Task RestoreAsync(Transaction transaction, CancellationToken cancellationToken)
    {
        var result = await commands.RunAsync(
            name + "-restore", ["--noflush", "-w", LockSeconds], transaction.Text(), Deadline + (transaction.Lines * DeadlinePerLine), cancellationToken);
        if (result.ExitCode != 0)
            throw Failed($"{name}-restore --noflush -w {LockSeconds}", result, transaction.ToString());
    }

    private static NetfilterException Failed(string command, CommandResult result, string text)
    {
        var answer = string.Join(" / ", result.Error.Split('\n', StringSplitOptions.TrimEntries | StringSplitOptions.RemoveEmptyEntries)
            .Where(l => !l.StartsWith('#') && !l.StartsWith("Try `", StringComparison.Ordinal)).Take(4));
        var message = $"`{command}` failed with exit code {result.ExitCode}: {(answer.Length == 0 ? "it gave no reason" : answer)}";
        var line = FailedLine().Match(result.Error);
        if (line.Success && int.TryParse(line.Groups[1].ValueSpan, out var number))
        {
            var lines = text.Split('\n');
            if (number >= 1 && number <= lines.Length)
                message += $"; line {number} is `{lines[number - 1]}`";
        }

        return new NetfilterException(message + ". Nothing was changed.")
        {
            IsTransient = Says(result.Error, "xtables lock", "temporarily unavailable", "Cannot allocate memory", "Too many open files", "Interrupted system call"),
            IsMissing = Says(result.Error, "does not exist", "do you need to insmod", "Address family not supported", "Protocol not supported"),
        };
    }

    private static bool Says(string error, params ReadOnlySpan<string> words)
    {
        foreach (var word in words)
        {
            if (error.Contains(word, StringComparison.OrdinalIgnoreCase))
                return true;
        }

        return false;
    }

    [GeneratedRegex(@"\bline:? (\d{1,9})", RegexOptions.CultureInvariant | RegexOptions.NonBacktracking)]
    private static partial Regex FailedLine();
}
