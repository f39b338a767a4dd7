using System.Collections.Immutable;
using EdgeMesh.Agent.Options;
using EdgeMesh.Linux;
using EdgeMesh.Linux.Netlink;
using EdgeMesh.Net;
using EdgeMesh.Tunnel;

namespace EdgeMesh.Agent.Hosting.Tunnel;

/// <summary>What this node's addresses mean to the mesh.</summary>
internal sealed record TunnelAddresses
{
    /// <summary>Peers bound what they take of one node.</summary>
    private const int MostAdvertised = 16;
    private const int MostRanges = 32;

    /// <summary>Where to listen.</summary>
    public required ImmutableArray<InetEndpoint> Listen { get; init; }

    /// <summary>What others are told to dial.</summary>
    public required ImmutableArray<InetEndpoint> Advertise { get; init; }

    /// <summary>Ranges whose addresses lead to this node.</summary>
    public required ImmutableArray<AddressRange> Ranges { get; init; }

    /// <summary>Where nodes of the same LAN are looked for.</summary>
    public required ImmutableArray<InetAddress> Discovery { get; init; }

    public static TunnelAddresses Of(EdgeTunnelOptions options, string ownDevice, ImmutableArray<NodeAddress> addresses)
    {
        // Others cannot dial loopback and link scope; the listen device has the same address on every node.
        var usable = addresses.Where(a => a.IsGlobal && a.Device != ownDevice && options.Devices.Matches(a.Device)).ToImmutableArray();
        var port = (ushort)options.ListenPort;
        // A bridge is as a rule the node's end of its pods' network, which strangers cannot dial, so it is offered last; but
        // some hosts have their uplink on one.
        var dialled = usable.OrderBy(a => a.DeviceKind == "bridge").Select(a => new InetEndpoint(a.Address, port)).Distinct();
        return new TunnelAddresses
        {
            Listen = options.Devices.IsEverything
                ? [.. addresses.Select(a => a.Address.IsIPv6).Distinct().Select(ipv6 => new InetEndpoint(InetAddress.Parse(ipv6 ? "::" : "0.0.0.0"), port))]
                : [.. usable.Select(a => new InetEndpoint(a.Address, port)).Distinct()],
            Advertise = [.. dialled.Take(MostAdvertised)],
            Ranges = [.. RangesOf(options, usable).Distinct().Take(MostRanges)],
            Discovery = [.. usable.Where(a => a.DeviceKind != "bridge" && !a.Address.IsIPv6).Select(a => a.Address).Distinct().Take(MostAdvertised)],
        };
    }

    private static IEnumerable<AddressRange> RangesOf(EdgeTunnelOptions options, ImmutableArray<NodeAddress> usable)
    {
        foreach (var configured in options.AddressRanges)
        {
            var range = new AddressRange(InetAddress.From(configured.BaseAddress), configured.PrefixLength);
            // Peers believe a range once they have met this node at an address inside it.
            var inside = usable.Where(a => range.Contains(a.Address)).Select(a => (InetAddress?)a.Address).FirstOrDefault();
            yield return inside is { } address ? range with { Address = address } : range;
        }

        foreach (var address in usable.Where(a => a.DeviceKind == "bridge"))
            yield return new AddressRange(address.Address, address.PrefixLength);
        foreach (var address in usable.Where(a => a.DeviceKind != "bridge"))
            yield return AddressRange.Of(address.Address);
    }
}
