using System.Diagnostics.CodeAnalysis;
using System.Net;
using System.Text;
using EdgeMesh.LibP2P.Wire;

namespace EdgeMesh.LibP2P.Addresses;

/// <summary>An address that says every step of the way, like `/ip4/10.0.0.1/tcp/20006/p2p/12D3KooW…`. Immutable. At most 16
/// components and 1,024 bytes: a relayed address needs five.</summary>
public sealed class Multiaddr : IEquatable<Multiaddr>
{
    private const int MaxComponents = 16;
    private const int MaxBytes = 1024;
    private const int MaxText = 2048;

    private readonly byte[] _bytes;

    private Multiaddr(MultiaddrComponent[] components)
    {
        Components = components;
        using var queue = new ByteQueue(MaxBytes + 256);
        foreach (var component in components)
            component.Append(queue);
        _bytes = queue.Data.ToArray();
    }

    /// <summary>The steps, outermost first.</summary>
    public IReadOnlyList<MultiaddrComponent> Components { get; }

    /// <summary>The binary form.</summary>
    public ReadOnlySpan<byte> Bytes => _bytes;

    /// <summary>The last `/p2p/…`: whom one reaches at the end of the way.</summary>
    public PeerId? Peer => Components.LastOrDefault(c => c.Protocol.Name == "p2p") is { } last && PeerId.TryParse(last.Text, out var id) ? id : null;

    /// <summary>Whether the way leads over a relay.</summary>
    public bool IsRelayed => Components.Any(c => c.Protocol.Name == "p2p-circuit");

    /// <summary>Reads the binary form; false if it is malformed, too long, or has a component that is not known here.</summary>
    public static bool TryDecode(ReadOnlySpan<byte> bytes, [NotNullWhen(true)] out Multiaddr? address)
    {
        address = null;
        if (bytes.IsEmpty || bytes.Length > MaxBytes)
            return false;
        var components = new List<MultiaddrComponent>();
        while (!bytes.IsEmpty)
        {
            if (components.Count == MaxComponents || !MultiaddrComponent.TryDecode(ref bytes, out var component))
                return false;
            components.Add(component);
        }

        address = new Multiaddr([.. components]);
        return true;
    }

    /// <summary>Reads the text form; false if it is malformed, too long, or has a component that is not known here.</summary>
    public static bool TryParse([NotNullWhen(true)] string? text, [NotNullWhen(true)] out Multiaddr? address)
    {
        address = null;
        if (string.IsNullOrEmpty(text) || text.Length > MaxText || text[0] != '/')
            return false;
        var parts = text.TrimEnd('/').Split('/');
        var components = new List<MultiaddrComponent>();
        for (var i = 1; i < parts.Length;)
        {
            if (components.Count == MaxComponents || MultiaddrProtocol.Find(parts[i++]) is not { } protocol)
                return false;
            var value = protocol.Size == 0 ? "" : i < parts.Length ? parts[i++] : null;
            if (value is null || protocol.ToBytes(value) is not { } bytes || protocol.ToText(bytes) is not { } normal)
                return false;
            components.Add(new MultiaddrComponent(MultiaddrProtocol.Find((ulong)protocol.Code)!, bytes, normal));
        }

        if (components.Count == 0 || components.Sum(c => c.Length) > MaxBytes)
            return false;
        address = new Multiaddr([.. components]);
        return true;
    }

    /// <summary>As <see cref="TryParse"/>.</summary>
    /// <exception cref="FormatException">The text is not a multiaddr.</exception>
    public static Multiaddr Parse(string text) =>
        TryParse(text, out var address) ? address : throw new FormatException($"'{text}' is not an address: expected text like /ip4/10.0.0.1/tcp/20006");

    /// <summary>The address of a TCP endpoint.</summary>
    public static Multiaddr FromEndPoint(IPEndPoint endPoint)
    {
        var ip = endPoint.Address.IsIPv4MappedToIPv6 ? endPoint.Address.MapToIPv4() : endPoint.Address;
        var bytes = ip.GetAddressBytes();
        var text = new IPAddress(bytes).ToString();
        return Parse($"/{(bytes.Length == 4 ? "ip4" : "ip6")}/{text}/tcp/{endPoint.Port}");
    }

    /// <summary>This way, continued.</summary>
    /// <exception cref="FormatException">The two together are longer than an address may be.</exception>
    public Multiaddr Append(string text) => Parse(ToString() + text);

    /// <summary>The endpoint, if the way starts with an IP address and a TCP port.</summary>
    public bool TryGetTcpEndPoint([NotNullWhen(true)] out IPEndPoint? endPoint)
    {
        endPoint = null;
        if (Components.Count < 2 || Components[0].Protocol.Name is not ("ip4" or "ip6") || Components[1].Protocol.Name != "tcp")
            return false;
        endPoint = new IPEndPoint(new IPAddress(Components[0].Value.Span), (Components[1].Value.Span[0] << 8) | Components[1].Value.Span[1]);
        return true;
    }

    public bool Equals(Multiaddr? other) => other is not null && _bytes.AsSpan().SequenceEqual(other._bytes);

    public override bool Equals(object? obj) => Equals(obj as Multiaddr);

    public override int GetHashCode()
    {
        var hash = new HashCode();
        hash.AddBytes(_bytes);
        return hash.ToHashCode();
    }

    public override string ToString()
    {
        var text = new StringBuilder();
        foreach (var component in Components)
            text.Append(component);
        return text.ToString();
    }
}
