using System.Runtime.InteropServices;
using EdgeMesh.Kubernetes.Api;
using EdgeMesh.Linux;
using EdgeMesh.Net;

namespace EdgeMesh.Names;

/// <summary>The ready endpoints of a headless service, ordered by address, IPv4 first.</summary>
internal sealed class HeadlessNames
{
    private readonly EndpointNames[] _endpoints;
    private readonly int[] _byLabel;
    private readonly int _ipv4;

    private HeadlessNames(EndpointNames[] endpoints)
    {
        _endpoints = endpoints;
        _ipv4 = Array.FindIndex(endpoints, e => e.Address.IsIPv6) is var first && first < 0 ? endpoints.Length : first;
        _byLabel = [.. Enumerable.Range(0, endpoints.Length).Where(i => endpoints[i].Label is not null)];
        Array.Sort(_byLabel, (a, b) => _endpoints[a].Label.AsSpan().SequenceCompareTo(_endpoints[b].Label) is var order && order != 0 ? order : a.CompareTo(b));
    }

    public ReadOnlySpan<EndpointNames> All => _endpoints;

    public ReadOnlySpan<EndpointNames> OfFamily(bool ipv6) => ipv6 ? _endpoints.AsSpan(_ipv4) : _endpoints.AsSpan(0, _ipv4);

    /// <summary>A slice says ready also for what is published before it is.</summary>
    public static HeadlessNames Build(EndpointSlice[] slices, Endpoints? endpoints, LabelPool labels)
    {
        var found = new List<EndpointNames>();
        foreach (var slice in slices)
        {
            var ports = PortsOf(slice.Ports, labels);
            foreach (var endpoint in slice.Endpoints)
            {
                if ((endpoint.Conditions?.Ready ?? true) && !endpoint.Addresses.IsEmpty && InetAddress.TryParse(endpoint.Addresses[0], out var address)
                    && address.IsIPv6 == (slice.AddressType == "IPv6"))
                {
                    found.Add(Named(address, endpoint.Hostname, ports, labels));
                }
            }
        }

        // v1 Endpoints speak only where there is no slice: both describe the same pods.
        if (slices.Length == 0 && endpoints is not null)
        {
            foreach (var subset in endpoints.Subsets)
            {
                var ports = PortsOf(subset.Ports, labels);
                foreach (var entry in subset.Addresses)
                {
                    if (InetAddress.TryParse(entry.Ip, out var address))
                        found.Add(Named(address, entry.Hostname, ports, labels));
                }
            }
        }

        found.Sort(ByAddress);
        return new HeadlessNames(OnceEach(CollectionsMarshal.AsSpan(found)));
    }

    /// <summary>The places in <see cref="All"/> of the endpoints that HOST means, by <see cref="At"/>.</summary>
    /// <param name="label">In small letters.</param>
    public HostMatch Find(ReadOnlySpan<byte> label)
    {
        int low = 0, high = _byLabel.Length;
        while (low < high)
        {
            var middle = (low + high) / 2;
            if (_endpoints[_byLabel[middle]].Label.AsSpan().SequenceCompareTo(label) < 0)
                low = middle + 1;
            else
                high = middle;
        }

        var end = low;
        while (end < _byLabel.Length && _endpoints[_byLabel[end]].Label.AsSpan().SequenceEqual(label))
            end++;
        if (end > low)
            return new HostMatch(low, end - low, ByLabel: true);
        return DashedAddress.TryReadIPv4(label, out var bits) && PlaceOf(bits) is var place && place >= 0 && _endpoints[place].Label is null
            ? new HostMatch(place, 1, ByLabel: false)
            : default;
    }

    public ref readonly EndpointNames At(in HostMatch match, int index) =>
        ref _endpoints[match.ByLabel ? _byLabel[match.Start + index] : match.Start + index];

    private int PlaceOf(uint ipv4)
    {
        int low = 0, high = _ipv4 - 1;
        while (low <= high)
        {
            var middle = (low + high) / 2;
            var order = _endpoints[middle].Address.Bits.CompareTo(ipv4);
            if (order == 0)
                return middle;
            if (order < 0)
                low = middle + 1;
            else
                high = middle - 1;
        }

        return -1;
    }

    private static EndpointNames Named(InetAddress address, string? hostName, PortNames[] ports, LabelPool labels)
    {
        if (!string.IsNullOrEmpty(hostName) && labels.Of(hostName) is { } label)
            return new EndpointNames(address, label, HasHostName: true, ports);
        return new EndpointNames(address, address.IsIPv6 ? DashedAddress.OfIPv6(address) : null, HasHostName: false, ports);
    }

    private static PortNames[] PortsOf(IReadOnlyList<EndpointPort> slicePorts, LabelPool labels)
    {
        var ports = new List<PortNames>(slicePorts.Count);
        foreach (var port in slicePorts)
        {
            if (port.Port is > 0 and <= ushort.MaxValue && labels.OfPort(port.Name) is { } name && labels.OfProtocol(port.Protocol) is { } protocol)
                ports.Add(new PortNames(name, protocol, (ushort)port.Port));
        }

        return [.. ports];
    }

    /// <summary>One address may be in several slices, one for each set of ports, or for a moment in two while it moves.</summary>
    private static EndpointNames[] OnceEach(Span<EndpointNames> sorted)
    {
        var kept = 0;
        foreach (ref readonly var endpoint in sorted)
        {
            if (kept > 0 && sorted[kept - 1].Address == endpoint.Address)
            {
                ref var before = ref sorted[kept - 1];
                if (!ReferenceEquals(before.Ports, endpoint.Ports))
                    before = before with { Ports = [.. before.Ports.Union(endpoint.Ports)] };
                if (!before.HasHostName && endpoint.HasHostName)
                    before = before with { Label = endpoint.Label, HasHostName = true };
                continue;
            }

            sorted[kept++] = endpoint;
        }

        return sorted[..kept].ToArray();
    }

    private static int ByAddress(EndpointNames a, EndpointNames b)
    {
        var order = a.Address.IsIPv6.CompareTo(b.Address.IsIPv6);
        return order != 0 ? order : a.Address.Bits.CompareTo(b.Address.Bits);
    }
}

/// <summary>Endpoints that one HOST means: both families of a pod have the same name.</summary>
internal readonly record struct HostMatch(int Start, int Count, bool ByLabel);

/// <summary>Addresses as labels: with dashes where they have dots or colons.</summary>
internal static class DashedAddress
{
    /// <summary>255-255-255-255.</summary>
    public const int LongestIPv4 = 15;

    public static bool TryReadIPv4(ReadOnlySpan<byte> label, out uint bits)
    {
        bits = 0;
        if (label.Length > LongestIPv4)
            return false;
        int part = 0, digits = 0, dashes = 0;
        foreach (var b in label)
        {
            if (b == (byte)'-')
            {
                if (digits == 0 || ++dashes > 3)
                    return false;
                bits = (bits << 8) | (uint)part;
                (part, digits) = (0, 0);
                continue;
            }

            // Without zeros in front: one address has one name.
            if (b is < (byte)'0' or > (byte)'9' || (digits == 1 && part == 0))
                return false;
            part = (part * 10) + (b - '0');
            digits++;
            if (part > 255)
                return false;
        }

        bits = (bits << 8) | (uint)part;
        return dashes == 3 && digits > 0;
    }

    /// <returns>How many bytes it has.</returns>
    public static int WriteIPv4(uint bits, Span<byte> destination)
    {
        var at = 0;
        for (var shift = 24; shift >= 0; shift -= 8)
        {
            if (at > 0)
                destination[at++] = (byte)'-';
            ((bits >> shift) & 0xFF).TryFormat(destination[at..], out var written);
            at += written;
        }

        return at;
    }

    public static byte[] OfIPv6(InetAddress address) => System.Text.Encoding.ASCII.GetBytes(address.ToString().Replace(':', '-'));

    public static bool TryReadIPv6(ReadOnlySpan<byte> label, out InetAddress address)
    {
        address = default;
        if (label.Length > 45)
            return false;
        Span<char> text = stackalloc char[label.Length];
        for (var i = 0; i < label.Length; i++)
            text[i] = label[i] == (byte)'-' ? ':' : (char)label[i];
        if (!text.Contains(':') || !System.Net.IPAddress.TryParse(text, out var parsed))
            return false;
        address = InetAddress.From(parsed);
        return address.IsIPv6;
    }
}
