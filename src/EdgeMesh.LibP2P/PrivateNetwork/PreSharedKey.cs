using System.Diagnostics.CodeAnalysis;

namespace EdgeMesh.LibP2P.PrivateNetwork;

/// <summary>The 32-byte key of a private network. It never appears in text.</summary>
public sealed class PreSharedKey
{
    private readonly byte[] _key;

    public PreSharedKey(ReadOnlySpan<byte> key)
    {
        if (key.Length != XSalsa20.KeySize)
            throw new ArgumentException($"must be {XSalsa20.KeySize} bytes", nameof(key));
        _key = key.ToArray();
    }

    internal ReadOnlySpan<byte> Key => _key;

    /// <summary>Reads the text of a swarm.key file: `/key/swarm/psk/1.0.0/`, `/base16/` or `/base64/`, the key.</summary>
    public static bool TryParse(string text, [NotNullWhen(true)] out PreSharedKey? key)
    {
        key = null;
        var lines = text.Split('\n', StringSplitOptions.TrimEntries | StringSplitOptions.RemoveEmptyEntries);
        if (lines.Length != 3 || lines[0] != "/key/swarm/psk/1.0.0/")
            return false;
        Span<byte> bytes = stackalloc byte[XSalsa20.KeySize];
        var read = 0;
        var ok = lines[1] switch
        {
            "/base16/" => lines[2].Length == 2 * XSalsa20.KeySize
                && Convert.FromHexString(lines[2], bytes, out _, out read) == System.Buffers.OperationStatus.Done,
            "/base64/" => Convert.TryFromBase64String(lines[2], bytes, out read),
            _ => false,
        };
        if (!ok || read != XSalsa20.KeySize)
            return false;
        key = new PreSharedKey(bytes);
        return true;
    }

    public override string ToString() => "a pre-shared key";
}
