using EdgeMesh.Net;
using EdgeMesh.Netfilter.Iptables;

namespace EdgeMesh.Netfilter;

/// <summary>Runs the packet filter's commands. The real one starts processes; <see cref="Iptables.FakeIptables"/> answers as the kernel would.</summary>
public interface ICommands
{
    /// <summary>Whether the command is installed.</summary>
    bool Exists(string command);

    /// <param name="input">Fed to standard input piece by piece, which is then closed: the rules of 10,000 services are too long for one string.</param>
    /// <param name="deadline">The command is killed when it takes longer.</param>
    /// <exception cref="NetfilterException">The command is missing, or was killed at its deadline.
    /// A command that ran and failed is no exception here: see <see cref="CommandResult.ExitCode"/>.</exception>
    Task<CommandResult> RunAsync(
        string command, IReadOnlyList<string> arguments, IEnumerable<ReadOnlyMemory<char>>? input, TimeSpan deadline, CancellationToken cancellationToken);

    /// <summary>The names of the chains that stand, without starting a program. Null: only the programs can say.</summary>
    IReadOnlyCollection<ChainName>? Chains(IptablesVariant variant, IpFamily family) => null;

    /// <summary>The lines of a file under /proc, or null where the kernel has no such file.</summary>
    Task<IReadOnlyList<string>?> ReadProcAsync(string path, CancellationToken cancellationToken);
}

public readonly record struct ChainName(string Table, string Chain);

public sealed record CommandResult(int ExitCode, string Output, string Error);
