using System.Globalization;
using System.Security.Cryptography;
using EdgeMesh.Linux;

namespace EdgeMesh.Agent.Hosting.Handover;

/// <summary>Who holds this node, as it stands on the listen device where only CAP_NET_ADMIN can write.</summary>
/// <param name="Name">The abstract name where the holder listens; random, so that nobody can have it before.</param>
/// <param name="Inode">Of the socket that listens there. A name is free again when its holder dies, and anybody may bind it
/// then: not with this number.</param>
/// <param name="Port">Where the holder takes knocks.</param>
internal sealed record NodeClaim(string Name, long Inode, uint Port)
{
    public const string Beginning = "edgemesh-agent ";

    /// <summary>What a device of ours carries while nobody holds it; <c>cleanup</c> knows it by that.</summary>
    public const string Vacant = Beginning + "-";

    public static string NewName() => "edgemesh-agent-" + RandomNumberGenerator.GetHexString(80, lowercase: true);

    /// <returns>Null for what no release wrote.</returns>
    public static NodeClaim? Parse(string text)
    {
        if (!text.StartsWith(Beginning, StringComparison.Ordinal))
            return null;
        var words = text[Beginning.Length..].Split(' ');
        return words.Length == 3
            && words[0].Length is >= UnixListeners.ShortestName and < 107
            && long.TryParse(words[1], NumberStyles.None, CultureInfo.InvariantCulture, out var inode)
            && uint.TryParse(words[2], NumberStyles.None, CultureInfo.InvariantCulture, out var port)
                ? new NodeClaim(words[0], inode, port)
                : null;
    }

    /// <summary>Its holder lives, even if it hangs.</summary>
    public bool IsHeld() => UnixListeners.InodeOf(Name) == Inode;

    public override string ToString() => string.Create(CultureInfo.InvariantCulture, $"{Beginning}{Name} {Inode} {Port}");
}
