using System.Buffers;
using System.Net;
using System.Security.Cryptography;
using System.Text;
using EdgeMesh.Net;

namespace EdgeMesh.Netfilter.Nftables;

/// <summary>Names of our objects. The kernel takes 255 bytes since 4.14; nft's scanner takes letters, digits and
/// <c>/ - _ .</c> after a letter. A chain's name is a hash, which makes it unique, and then what people look for.</summary>
internal static class NftNames
{
    public const string Table = "edgemesh";
    public const string Portals = "portals";
    public const string Alive = "alive";
    public const string Lease = "lease";
    public const string Hairpin = "hairpin";
    public const string Listener = "listener";
    public const string Refused = "refused";
    public const string Prerouting = "prerouting";
    public const string Output = "output";
    public const string Postrouting = "postrouting";
    public const string Forward = "forward";
    public const string Input = "input";
    public const string AffinityPrefix = "aff-";

    public const int NameLimit = 127;

    // NFTNL_UDATA_COMMENT_MAXLEN of libnftnl is 128.
    public const int CommentLimit = 127;

    private const string HashLetters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    private static readonly SearchValues<char> NameCharacters =
        SearchValues.Create("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789/-_.");

    private static readonly SearchValues<char> CommentCharacters =
        SearchValues.Create("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789/-_.: ");

    /// <summary>A chain of another name is needed wherever one transaction makes a new chain for the portal and deletes the old.</summary>
    public static string ServiceChain(PortalRule rule, bool affinity)
    {
        var key = $"{rule.Key.Address}/{(int)rule.Key.Protocol}/{rule.Key.Port}/{rule.Comment}/{affinity}";
        return Limit($"svc-{Hash(key, 8)}-{Keep(rule.Comment.Replace(':', '/'), NameCharacters)}", NameLimit);
    }

    /// <summary>What the names of an endpoint's affinity chain (<c>ep-</c>) and set (<c>aff-</c>) end with. The time-out
    /// is part of it because the kernel cannot change the one of a set.</summary>
    public static string Affinity(string serviceChain, InetEndpoint endpoint, TimeSpan timeout) =>
        $"{Hash($"{serviceChain}/{endpoint}/{Seconds(timeout)}", 16)}-{Keep(endpoint.ToString(), NameCharacters)}";

    public static string Comment(string comment) => Limit(Keep(comment, CommentCharacters), CommentLimit);

    public static long Seconds(TimeSpan timeout) => Math.Clamp((long)timeout.TotalSeconds, 1, 86_400 * 30);

    private static string Limit(string text, int limit) => text.Length <= limit ? text : text[..limit];

    private static string Keep(string text, SearchValues<char> allowed) =>
        text.AsSpan().IndexOfAnyExcept(allowed) < 0 ? text : string.Concat(text.Select(c => allowed.Contains(c) ? c : '_'));

    private static string Hash(string text, int letters)
    {
        Span<byte> hash = stackalloc byte[SHA256.HashSizeInBytes];
        SHA256.HashData(Encoding.UTF8.GetBytes(text), hash);
        Span<char> name = stackalloc char[letters];
        for (var i = 0; i < letters; i++)
            name[i] = HashLetters[hash[i] & 31];
        return new string(name);
    }
}
