using System.Buffers;
using System.Collections.Immutable;
using System.Security.Cryptography;
using System.Text;
using EdgeMesh.Kubernetes;
using EdgeMesh.LibP2P.Addresses;
using EdgeMesh.LibP2P.Admission;
using EdgeMesh.LibP2P.Cryptography;

namespace EdgeMesh.Tunnel.Identity;

/// <summary>
/// The secret that all nodes of a mesh share, and what follows from it: every holder knows which peer id each node name has,
/// offline and with no directory. A node's Ed25519 seed is
/// <c>HKDF-SHA256(ikm: the key's bytes, salt: "edgemesh/identity/v1", info: the node's name)</c>.
/// </summary>
/// <remarks>Two keys are held while a new one is rolled out: the first makes this node's identity, both are accepted.</remarks>
public sealed class PresharedKeys
{
    /// <summary>What a node name may be (RFC 1123 subdomain, the API's rule).</summary>
    public const int MaxNodeName = 253;

    private const int MaxKeys = 2;
    private const int MaxFile = 4096;
    private static readonly byte[] Salt = "edgemesh/identity/v1"u8.ToArray();
    private static readonly byte[] AdmissionSalt = "edgemesh/admission/v1"u8.ToArray();
    private static readonly SearchValues<char> NameCharacters = SearchValues.Create("abcdefghijklmnopqrstuvwxyz0123456789.-");

    private readonly ImmutableArray<byte[]> _keys;

    private PresharedKeys(ImmutableArray<byte[]> keys) => _keys = keys;

    /// <summary>How many are accepted.</summary>
    public int Count => _keys.Length;

    /// <summary>What an operator should mend although the keys are used; null where all is well.</summary>
    public string? Notice { get; private init; }

    /// <summary>Reads a file of one or two keys, one a line.</summary>
    /// <exception cref="PresharedKeyException">It cannot be read, others may read it, or a key could be guessed.</exception>
    public static PresharedKeys Read(string path)
    {
        try
        {
            using var file = SmallFile.Open(path)
                ?? throw new PresharedKeyException($"The key file {path} is empty, or no file. Make one with: openssl rand -base64 32 > {path}; chmod 600 {path}");
            var notice = CheckMode(path, File.GetUnixFileMode(file.SafeFileHandle));
            var bytes = new byte[MaxFile + 1];
            var count = file.ReadAtLeast(bytes, bytes.Length, throwOnEndOfStream: false);
            if (count > MaxFile)
                throw new PresharedKeyException($"The key file {path} is longer than {MaxFile} bytes: it must hold one or two keys, one a line.");
            try
            {
                return new PresharedKeys(Parse(Encoding.UTF8.GetString(bytes, 0, count), $"The key file {path}")._keys) { Notice = notice };
            }
            finally
            {
                CryptographicOperations.ZeroMemory(bytes);
            }
        }
        catch (Exception e) when (e is not PresharedKeyException and (IOException or UnauthorizedAccessException))
        {
            throw new PresharedKeyException($"The key file {path} cannot be read: {e.Message} Make one with: openssl rand -base64 32 > {path}; chmod 600 {path}", e);
        }
    }

    /// <returns>What to mend where others may read it and it is used all the same; else null.</returns>
    /// <exception cref="PresharedKeyException">Others may read it.</exception>
    private static string? CheckMode(string path, UnixFileMode mode)
    {
        const UnixFileMode OwnerAlone = UnixFileMode.UserRead | UnixFileMode.UserWrite;
        const UnixFileMode Readers = OwnerAlone | UnixFileMode.GroupRead | UnixFileMode.OtherRead;
        if ((mode & ~OwnerAlone) == UnixFileMode.None)
            return null;
        var octal = Convert.ToString((int)mode, 8).PadLeft(4, '0');
        if ((mode & ~Readers) == UnixFileMode.None && IsOnVolume(path))
            return $"The key file {path} has mode {octal}, as a ConfigMap or Secret volume gives it when the pod does not say otherwise: every user of this node who can reach the volume reads it. Write 'defaultMode: 0400' at that volume.";
        throw new PresharedKeyException($"The key file {path} has mode {octal}: others could read or change it. Run: chmod 600 {path}");
    }

    /// <summary>Kubelet lays a volume's files out as links into <c>..data</c>, which is a link to a folder named for its time.
    /// There nobody can run chmod: the mode stands in the pod.</summary>
    private static bool IsOnVolume(string path)
    {
        try
        {
            var folder = Path.GetDirectoryName(Path.GetFullPath(path))!;
            return File.ResolveLinkTarget(path, returnFinalTarget: false) is { } file
                && Path.GetDirectoryName(file.FullName) == Path.Combine(folder, "..data")
                && Directory.ResolveLinkTarget(Path.Combine(folder, "..data"), returnFinalTarget: false) is { } data
                && Path.GetDirectoryName(data.FullName) == folder && data.Name.StartsWith("..", StringComparison.Ordinal);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return false;
        }
    }

    /// <summary>Reads one or two keys, one a line; empty lines and lines that begin with # are passed over.</summary>
    /// <param name="source">How messages call it; they never show a key.</param>
    /// <exception cref="PresharedKeyException">There is none, there are more, or one could be guessed.</exception>
    public static PresharedKeys Parse(string text, string source)
    {
        var lines = text.Split('\n', StringSplitOptions.TrimEntries | StringSplitOptions.RemoveEmptyEntries).Where(l => l[0] != '#').ToList();
        if (lines.Count is 0 or > MaxKeys)
            throw new PresharedKeyException($"{source} holds {lines.Count} keys: it must be one, or two while a new one is rolled out, one a line.");
        for (var i = 0; i < lines.Count; i++)
        {
            if (KeyStrength.FaultOf(lines[i]) is { } fault)
                throw new PresharedKeyException($"{source}: key {i + 1} {fault}. Make one with 'openssl rand -base64 32', and give it to every node of the mesh") { IsGuessable = true };
        }

        return new PresharedKeys([.. lines.Select(Encoding.UTF8.GetBytes)]);
    }

    /// <summary>Whether a text can be the name of a node.</summary>
    public static bool IsNodeName(string name) => name.Length is > 0 and <= MaxNodeName && !name.AsSpan().ContainsAnyExcept(NameCharacters);

    /// <summary>The key pair of a node under the first key. The caller disposes of it.</summary>
    public Ed25519KeyPair DeriveOwn(string node) => Derive(_keys[0], node);

    /// <summary>Who may call itself by this name: one peer id per key, that of the first key first.</summary>
    public ImmutableArray<PeerId> PeersNamed(string node)
    {
        var peers = ImmutableArray.CreateBuilder<PeerId>(_keys.Length);
        foreach (var key in _keys)
        {
            using var pair = Derive(key, node);
            peers.Add(pair.PeerId);
        }

        return peers.MoveToImmutable();
    }

    /// <summary>What a node proves in its first flight, and asks of others: <c>HKDF-SHA256(ikm: the key's bytes, salt:
    /// "edgemesh/admission/v1")</c> for each key.</summary>
    public AdmissionKeys DeriveAdmission(PeerId self) =>
        new([.. _keys.Select(key => HKDF.DeriveKey(HashAlgorithmName.SHA256, key, AdmissionKeys.KeySize, AdmissionSalt))], self);

    private static Ed25519KeyPair Derive(byte[] key, string node)
    {
        Span<byte> seed = stackalloc byte[Ed25519KeyPair.SeedSize];
        try
        {
            HKDF.DeriveKey(HashAlgorithmName.SHA256, key, seed, Salt, Encoding.UTF8.GetBytes(node));
            return Ed25519KeyPair.FromSeed(seed);
        }
        finally
        {
            CryptographicOperations.ZeroMemory(seed);
        }
    }
}

/// <summary>A key file that cannot be used; the message says why and what to do, and shows no key.</summary>
public sealed class PresharedKeyException : Exception
{
    /// <summary>The file is there and may be used, but a key in it is no secret: only another key mends that.</summary>
    public bool IsGuessable { get; init; }

    public PresharedKeyException(string message)
        : base(message)
    {
    }

    public PresharedKeyException(string message, Exception inner)
        : base(message, inner)
    {
    }
}
