using System.Security.Cryptography;
using System.Text;
using EdgeMesh.Net;

namespace EdgeMesh.Netfilter.Iptables;

/// <summary>The chains of ours in the nat table.</summary>
internal sealed class ChainNames(ChainPrefix prefix)
{
    public const string Postrouting = "EDGEMESH-POSTROUTING";
    public const string Masquerade = "EDGEMESH-MASQUERADE";
    public const string Listener = "EDGEMESH-LISTENER";
    public const string Probe = "EDGEMESH-PROBE";

    /// <summary>Never KUBE-SVC-, -SEP-, -EXT-, -FW-, -SVL-: kube-proxy deletes whatever starts so and is not its own,
    /// whatever <see cref="ChainPrefix"/> the user chose for the two portal chains.</summary>
    public const string ServicePrefix = "EDGEMESH-SVC-";

    /// <summary>Users grep for it, and for the order that it asks for: it is the text of every release so far.</summary>
    public const string JumpComment = "handle ClusterIPs; NOTE: this must be before the NodePort rules";

    private const string Base32 = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

    public string Container { get; } = Word(prefix) + "-PORTALS-CONTAINER";

    public string Host { get; } = Word(prefix) + "-PORTALS-HOST";

    public IEnumerable<Hook> Hooks =>
    [
        new("PREROUTING", Container, new Rule($"-m comment --comment {Rule.Quote(JumpComment)} -j {Container}"), MustBeFirst: true),
        new("OUTPUT", Host, new Rule($"-m comment --comment {Rule.Quote(JumpComment)} -j {Host}"), MustBeFirst: true),
        new("POSTROUTING", Postrouting, new Rule($"-m comment --comment \"edgemesh: masquerade what came back to where it left\" -j {Postrouting}"), MustBeFirst: false),
    ];

    /// <summary>Those in the filter table.</summary>
    public const string Invalid = "EDGEMESH-INVALID";
    public const string Forward = "EDGEMESH-FORWARD";
    public const string Input = "EDGEMESH-INPUT";

    public static string Word(ChainPrefix prefix) => prefix == ChainPrefix.Kube ? "KUBE" : "EDGEMESH";

    public bool IsOurs(string chain) =>
        chain == Container || chain == Host || chain is Postrouting or Masquerade or Listener or Probe || chain.StartsWith(ServicePrefix, StringComparison.Ordinal);

    /// <summary>A chain name has at most 28 characters; 15 characters of base32 are 75 bits of the hash.</summary>
    public static string Service(TransportAddress key) => ServicePrefix + Hash($"{key.Address} {key.Protocol} {key.Port}");

    /// <summary>The list of clients that keep one endpoint of one service port.</summary>
    public static string Affinity(TransportAddress key, string endpoint) => "edgemesh-" + Hash($"{key.Address} {key.Protocol} {key.Port} {endpoint}");

    private static string Hash(string text)
    {
        Span<byte> hash = stackalloc byte[SHA256.HashSizeInBytes];
        SHA256.HashData(Encoding.UTF8.GetBytes(text), hash);
        Span<char> name = stackalloc char[15];
        for (var i = 0; i < name.Length; i++)
        {
            var bit = i * 5;
            var pair = (hash[bit / 8] << 8) | hash[(bit / 8) + 1];
            name[i] = Base32[(pair >> (11 - (bit % 8))) & 31];
        }

        return new string(name);
    }
}

/// <param name="MustBeFirst">The order against kube-proxy matters only where addresses are rewritten on the way in.</param>
internal sealed record Hook(string HookChain, string PortalChain, Rule Jump, bool MustBeFirst);
