using System.Collections.Immutable;
using System.Net;

namespace EdgeMesh.Netfilter;

/// <summary>Which connections on the kernel path get this node's address as their source. What comes back to where it left
/// always does.</summary>
public sealed class MasqueradePolicy
{
    private MasqueradePolicy(bool all, ImmutableArray<IPNetwork> local, ImmutableArray<(IPNetwork From, IPNetwork To)> inside)
    {
        All = all;
        Local = local;
        Inside = inside;
    }

    /// <summary>None but what comes back to where it left.</summary>
    public static MasqueradePolicy HairpinOnly { get; } = new(all: false, default, []);

    /// <summary>Every one.</summary>
    public static MasqueradePolicy Everything { get; } = new(all: true, [], []);

    public bool All { get; }

    /// <summary>Whose connections keep their address; default: everybody's.</summary>
    public ImmutableArray<IPNetwork> Local { get; }

    /// <summary>What goes from an address of the one to an address of the other does not keep it: the answer would not come by here.</summary>
    public ImmutableArray<(IPNetwork From, IPNetwork To)> Inside { get; }

    /// <summary>Whether addresses decide, so that a connection has to be known as ours when it leaves.</summary>
    public bool DependsOnAddresses => !All && !Local.IsDefault;

    /// <summary>All but those of the local networks, which are again those from one to the other of <paramref name="inside"/>.</summary>
    public static MasqueradePolicy Except(ImmutableArray<IPNetwork> local, ImmutableArray<(IPNetwork From, IPNetwork To)> inside) => new(all: false, local, inside);

    /// <summary>Whether connections are marked alike; then a change of addresses is a change of one chain.</summary>
    public bool MarksAs(MasqueradePolicy other) => All == other.All && DependsOnAddresses == other.DependsOnAddresses;

    public bool IsSameAs(MasqueradePolicy other) =>
        ReferenceEquals(this, other)
        || (MarksAs(other) && (!DependsOnAddresses || (Local.AsSpan().SequenceEqual(other.Local.AsSpan()) && Inside.AsSpan().SequenceEqual(other.Inside.AsSpan()))));
}
