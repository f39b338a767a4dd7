using System.Collections.Immutable;
using System.Net;
using EdgeMesh.Linux;
using EdgeMesh.Net;
using EdgeMesh.Netfilter;

namespace EdgeMesh.Agent.Hosting;

/// <summary>Where the listen device and the listeners are.</summary>
internal static class ListenerAddresses
{
    /// <summary>The IPv6 address of the listen device. A unique local address (RFC 4193), because a DNAT target cannot be
    /// link-local without a zone; its global ID spells "nmesh", and its last digits are those of 169.254.96.16.</summary>
    public static readonly InetAddress IPv6 = InetAddress.Parse("fd0e:6d65:7368::10");

    public static ImmutableArray<InetAddress> Of(IPAddress deviceAddress) => [InetAddress.From(deviceAddress), IPv6];

    /// <summary>The listener of each family that both the device and the rule backend can do.</summary>
    public static ImmutableSortedDictionary<IpFamily, InetEndpoint> Listeners(
        IPAddress deviceAddress, int port, bool ipv6OnDevice, ImmutableArray<IpFamily> backendFamilies)
    {
        var listeners = ImmutableSortedDictionary.CreateBuilder<IpFamily, InetEndpoint>();
        if (backendFamilies.Contains(IpFamily.IPv4))
            listeners.Add(IpFamily.IPv4, new InetEndpoint(InetAddress.From(deviceAddress), (ushort)port));
        if (ipv6OnDevice && backendFamilies.Contains(IpFamily.IPv6))
            listeners.Add(IpFamily.IPv6, new InetEndpoint(IPv6, (ushort)port));
        return listeners.ToImmutable();
    }
}
