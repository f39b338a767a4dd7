using System.Collections.Frozen;
using System.Collections.Immutable;
using EdgeMesh.Hosts;
using EdgeMesh.Net;
using EdgeMesh.Tunnel;

namespace EdgeMesh.Names;

/// <summary>Whose questions are answered: this node's own, its pods', and those of ranges that the user named. A resolver for everybody
/// else would be one that strangers use against others (RFC 5358).</summary>
public sealed class LocalClients
{
    private static readonly ImmutableArray<AddressRange> _loopback = [AddressRange.Parse("127.0.0.0/8"), AddressRange.Parse("::1")];

    private readonly FrozenSet<InetAddress> _own;
    private readonly ImmutableArray<AddressRange> _ranges;

    private LocalClients(FrozenSet<InetAddress> own, ImmutableArray<AddressRange> ranges) => (_own, _ranges) = (own, ranges);

    /// <param name="own">This node's addresses.</param>
    /// <param name="host">Null: nothing is known of its devices.</param>
    /// <param name="podRanges">Of the Node object, in its text.</param>
    /// <param name="named">Of the configuration.</param>
    public static LocalClients Of(FrozenSet<InetAddress> own, HostFacts? host, IEnumerable<string> podRanges, IEnumerable<AddressRange> named)
    {
        ArgumentNullException.ThrowIfNull(own);
        ArgumentNullException.ThrowIfNull(podRanges);
        HostFamilyFacts[] families = host is null ? [] : [host.IPv4, host.IPv6];
        return new LocalClients(
            own,
            [
                .. _loopback,
                .. families.SelectMany(family => family.Bridges).SelectMany(bridge => bridge.Ranges),
                .. families.SelectMany(family => family.RoutedPods),
                .. podRanges.Select(text => AddressRange.TryParse(text, out var range) ? range : null).OfType<AddressRange>(),
                .. named,
            ]);
    }

    /// <summary>Called for each question.</summary>
    public bool Contains(in InetAddress address)
    {
        if (_own.Contains(address))
            return true;
        foreach (var range in _ranges)
        {
            if (range.Contains(address))
                return true;
        }

        return false;
    }
}
