using System.Collections.Immutable;

namespace EdgeMesh.Testing.Lab;

/// <summary>The nat table as iptables-save shows it.</summary>
public sealed record NatTable(ImmutableArray<string> Lines)
{
    /// <summary>The rules of a chain in order, each without <c>-A CHAIN</c>.</summary>
    public ImmutableArray<string> Chain(string chain) =>
        [.. Lines.Where(line => line.StartsWith($"-A {chain} ", StringComparison.Ordinal)).Select(line => line[(chain.Length + 4)..])];

    public bool HasChain(string chain) => Lines.Any(line => line.StartsWith($":{chain} ", StringComparison.Ordinal));

    /// <summary>1-based place of the first rule of <paramref name="chain"/> that jumps to <paramref name="target"/>; 0 when there is none.</summary>
    public int JumpPosition(string chain, string target) =>
        Chain(chain).Select(rule => $"{rule} ").ToList().FindIndex(rule => rule.Contains($"-j {target} ", StringComparison.Ordinal)) + 1;

    public int JumpCount(string chain, string target) =>
        Chain(chain).Count(rule => $"{rule} ".Contains($"-j {target} ", StringComparison.Ordinal));

    /// <summary>Rules of the chain that carry this comment.</summary>
    public ImmutableArray<string> Commented(string chain, string comment) =>
        [.. Chain(chain).Where(rule => rule.Contains($"--comment \"{comment}\"", StringComparison.Ordinal) || $"{rule} ".Contains($"--comment {comment} ", StringComparison.Ordinal))];

    public override string ToString() => string.Join('\n', Lines);
}
