using System.Collections.Immutable;
using System.Globalization;
using EdgeMesh.Linux;

namespace EdgeMesh.Agent.Hosting;

/// <summary>At which port the agent listens where the configured one cannot be had: any program may bind that one on every address
/// before the listen device is there.</summary>
internal static class ListenPorts
{
    /// <summary>Below 1024, where a program without CAP_NET_BIND_SERVICE can bind nothing, and below those that NFS takes as it
    /// needs them; assigned to protocols that are gone. Three, for a node where somebody entitled has one.</summary>
    private static readonly ImmutableArray<int> _reserve = [207, 205, 208];

    /// <param name="predecessorHas">Null: there is no predecessor.</param>
    public static ImmutableArray<int> InOrder(int configured, Func<int, bool>? predecessorHas)
    {
        ImmutableArray<int> ports = [configured, .. _reserve.Where(port => port != configured)];
        return predecessorHas is null ? ports : [.. ports.OrderByDescending(predecessorHas)];
    }

    /// <summary>Whose a port is, for people.</summary>
    public static string HolderOf(int port, IEnumerable<BoundPort> bound)
    {
        foreach (var holder in bound)
        {
            if (holder.Local.Port == port)
                return string.Create(CultureInfo.InvariantCulture, $"a program of user {holder.User} (it has {holder.Local})");
        }

        return "another program";
    }
}
