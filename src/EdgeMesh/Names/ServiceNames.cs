using System.Collections.Immutable;
using EdgeMesh.Dns.Messages;
using EdgeMesh.Kubernetes.Api;
using EdgeMesh.Linux;
using EdgeMesh.Net;

namespace EdgeMesh.Names;

/// <summary>A port that SRV records tell of. Labels are without their underscore, in small letters.</summary>
/// <param name="Name">Empty for a port without a name: it is told of, but cannot be asked for.</param>
internal readonly record struct PortNames(byte[] Name, byte[] Protocol, ushort Number);

/// <summary>One address of a headless service, with all that its slices say of it.</summary>
/// <param name="Label">Its host name, or for IPv6 without one the address with dashes; null: an IPv4 address, written from its bits.</param>
internal readonly record struct EndpointNames(InetAddress Address, byte[]? Label, bool HasHostName, PortNames[] Ports);

/// <summary>What can be asked about one service. Immutable: a changed service has a new one.</summary>
internal sealed class ServiceNames
{
    /// <summary>SVC.NS as labels in small letters.</summary>
    public required byte[] Key { get; init; }

    /// <summary>Where NS begins in <see cref="Key"/>.</summary>
    public required int NamespaceAt { get; init; }

    /// <summary>Cluster addresses, IPv4 first. Empty for a headless service.</summary>
    public InetAddress[] Addresses { get; init; } = [];

    public PortNames[] Ports { get; init; } = [];

    /// <summary>Where an ExternalName leads to; null for every other service.</summary>
    public byte[]? ExternalName { get; init; }

    /// <summary>Null unless the service is headless.</summary>
    public HeadlessNames? Headless { get; init; }

    /// <summary>What it was built from; the index' alone.</summary>
    public Service? Of { get; set; }

    public ReadOnlySpan<byte> Namespace => Key.AsSpan(NamespaceAt);

    /// <summary>SVC.NS as labels in small letters; null: these are none that DNS can have.</summary>
    public static byte[]? KeyOf(ObjectName name, LabelPool labels) =>
        labels.WithLength(name.Name) is { } service && labels.WithLength(name.Namespace) is { } @namespace ? [.. service, .. @namespace] : null;

    public static ServiceNames Build(Service service, byte[] key, EndpointSlice[] slices, Endpoints? endpoints, LabelPool labels)
    {
        var namespaceAt = key[0] + 1;
        var spec = service.Spec;
        if (spec.Type == "ExternalName")
        {
            // The API takes an address for a name of digits, and so does nobody else: it leads nowhere.
            var target = spec.ExternalName is { Length: > 0 } text && !InetAddress.TryParse(text, out _) ? WireName.FromText(text) : null;
            return new ServiceNames { Key = key, NamespaceAt = namespaceAt, ExternalName = target is { Length: > 1 } ? target : null };
        }

        return spec.ClusterIP == "None"
            ? new ServiceNames { Key = key, NamespaceAt = namespaceAt, Headless = HeadlessNames.Build(slices, endpoints, labels) }
            : new ServiceNames { Key = key, NamespaceAt = namespaceAt, Addresses = ClusterAddresses(spec), Ports = PortsOf(spec, labels) };
    }

    private static InetAddress[] ClusterAddresses(ServiceSpec spec)
    {
        var texts = spec.ClusterIPs.IsEmpty && spec.ClusterIP is { } only ? [only] : spec.ClusterIPs;
        var addresses = new List<InetAddress>(texts.Length);
        foreach (var text in texts)
        {
            if (InetAddress.TryParse(text, out var address) && !addresses.Contains(address))
                addresses.Add(address);
        }

        addresses.Sort(static (a, b) => a.IsIPv6.CompareTo(b.IsIPv6));
        return [.. addresses];
    }

    private static PortNames[] PortsOf(ServiceSpec spec, LabelPool labels)
    {
        var ports = new List<PortNames>(spec.Ports.Length);
        foreach (var port in spec.Ports)
        {
            if (port.Port is > 0 and <= ushort.MaxValue && labels.OfPort(port.Name) is { } name && labels.OfProtocol(port.Protocol) is { } protocol)
                ports.Add(new PortNames(name, protocol, (ushort)port.Port));
        }

        return [.. ports];
    }
}

/// <summary>Labels of names as bytes. Those of ports and namespaces repeat, and are kept once.</summary>
internal sealed class LabelPool
{
    private const int MostKept = 4096;

    private readonly Dictionary<string, byte[]> _kept = new(StringComparer.Ordinal);

    /// <summary>In small letters; null: no label (RFC 1035, 3.1).</summary>
    public byte[]? Of(string text)
    {
        if (text.Length is 0 or > DnsLimits.MaxLabel || !System.Text.Ascii.IsValid(text))
            return null;
        var label = System.Text.Encoding.ASCII.GetBytes(text);
        WireName.ToLower(label, label);
        return label;
    }

    /// <summary>As it stands in a message, with its length in front; null: no label.</summary>
    public byte[]? WithLength(string text) => Of(text) is { } label ? [(byte)label.Length, .. label] : null;

    public byte[]? OfPort(string? name) => string.IsNullOrEmpty(name) ? [] : Kept(name);

    public byte[]? OfProtocol(string? protocol) => Kept(string.IsNullOrEmpty(protocol) ? "tcp" : protocol);

    private byte[]? Kept(string text)
    {
        if (_kept.TryGetValue(text, out var label))
            return label;
        if (Of(text) is not { } made)
            return null;
        // Whoever may write Services would else decide how much is kept.
        if (_kept.Count < MostKept)
            _kept.Add(text, made);
        return made;
    }
}
