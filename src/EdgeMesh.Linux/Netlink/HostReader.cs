using System.Collections.Immutable;
using System.Runtime.InteropServices;
using EdgeMesh.Net;

namespace EdgeMesh.Linux.Netlink;

/// <summary>Asks the kernel for devices, addresses, routes and their settings (linux/rtnetlink.h, netconf.h, if_link.h), and
/// notices when any of them changes. Not thread safe.</summary>
public sealed class HostReader : IDisposable
{
    private const int GetLink = 18, GetRoute = 26, GetNetconf = 82;
    private const int GroupLink = 1, GroupIPv4Address = 5, GroupIPv4Route = 7, GroupIPv6Address = 9, GroupIPv6Route = 11, GroupIPv4Netconf = 24, GroupIPv6Netconf = 25;
    private const int MainTable = 254;
    private const int Unicast = 1;

    // A node that carries the routes of the whole internet is no Kubernetes node; reading them all would take a core.
    private const int MostRoutes = 20_000;

    private static readonly TimeSpan Deadline = TimeSpan.FromSeconds(5);

    private readonly NetlinkSocket _events;
    private bool _changed = true;

    private HostReader(NetlinkSocket events) => _events = events;

    /// <exception cref="NetlinkException">The kernel does not let us listen.</exception>
    public static HostReader Open()
    {
        var events = NetlinkSocket.Open(NetlinkSocket.ProtocolRoute, Deadline);
        try
        {
            foreach (var group in (int[])[GroupLink, GroupIPv4Address, GroupIPv4Route, GroupIPv6Address, GroupIPv6Route, GroupIPv4Netconf, GroupIPv6Netconf])
                events.JoinGroup(group, "Subscribing to changes of devices, addresses and routes");
            return new HostReader(events);
        }
        catch
        {
            events.Dispose();
            throw;
        }
    }

    /// <summary>Whether anything was said to have changed since the last <see cref="Read"/>. One system call when nothing has.</summary>
    public bool HasChanged()
    {
        for (var i = 0; i < 1000; i++)
        {
            var errno = _events.Receive(out _, wait: false);
            if (errno == NetlinkCalls.Eagain)
                break;
            // What overflowed the buffer is a change too.
            _changed = true;
            if (errno is not (0 or NetlinkCalls.Enobufs))
                break;
        }

        return _changed;
    }

    /// <summary>All but <see cref="HostObservation.FilterChains"/> and the switches of bridges.</summary>
    /// <exception cref="NetlinkException">The kernel did not answer.</exception>
    public HostObservation Read()
    {
        HasChanged();
        using var socket = NetlinkSocket.Open(NetlinkSocket.ProtocolRoute, Deadline);
        var cut = false;
        var observation = new HostObservation
        {
            Links = [.. Dump(socket, GetLink, NetlinkCalls.AfUnspec, 16, "Listing the network devices", ParseLink).OrderBy(link => link.Index)],
            Addresses = NodeAddresses.List(socket),
            Routes = [.. Routes(socket, NetlinkCalls.AfInet, ref cut), .. Routes(socket, NetlinkCalls.AfInet6, ref cut)],
            Settings = [.. Settings(socket, NetlinkCalls.AfInet), .. Settings(socket, NetlinkCalls.AfInet6)],
            RoutesCut = cut,
        };
        _changed = false;
        return observation;
    }

    /// <summary>The switch net.bridge.bridge-nf-call-iptables or -ip6tables.</summary>
    /// <returns>Null: the kernel has no such switch, because br_netfilter is not loaded.</returns>
    public static bool? ReadBridgeFilter(bool ipv6)
    {
        var file = ipv6 ? "/proc/sys/net/bridge/bridge-nf-call-ip6tables" : "/proc/sys/net/bridge/bridge-nf-call-iptables";
        try
        {
            // It is asked for often, and an exception for each time would be dear.
            return !File.Exists(file) ? null : File.ReadAllText(file).AsSpan().Trim() is not "0";
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return null;
        }
    }

    public void Dispose() => _events.Dispose();

    private static List<HostRoute> Routes(NetlinkSocket socket, int family, ref bool cut)
    {
        var routes = Dump(socket, GetRoute, family, 12, "Listing the routes", ParseRoute, MostRoutes);
        cut |= routes.Count >= MostRoutes;
        return routes;
    }

    private static IEnumerable<HostDeviceSettings> Settings(NetlinkSocket socket, int family) =>
        Dump(socket, GetNetconf, family, 4, "Listing the settings of the network devices", ParseSettings).OrderBy(s => s.Device);

    private static List<T> Dump<T>(NetlinkSocket socket, int type, int family, int header, string what, Parser<T> parse, int most = int.MaxValue)
        where T : struct
    {
        Span<byte> buffer = stackalloc byte[64];
        for (var attempt = 0; ; attempt++)
        {
            var found = new List<T>();
            var writer = new NetlinkWriter(buffer);
            var sequence = socket.NextSequence();
            writer.BeginMessage(type, NetlinkSocket.FlagRequest | NetlinkSocket.FlagDump, sequence);
            writer.Claim(header)[0] = (byte)family;
            writer.EndMessage();
            var errno = socket.Query(
                writer.Written,
                sequence,
                dump: true,
                (_, payload) =>
                {
                    if (found.Count < most && parse(payload) is { } item)
                        found.Add(item);
                },
                out var interrupted);
            // A kernel without IPv6 has nothing to list.
            if (errno is NetlinkCalls.Eafnosupport or NetlinkCalls.Eopnotsupp && family == NetlinkCalls.AfInet6)
                return [];
            if (errno != 0)
                throw new NetlinkException(what, errno);
            if (!interrupted || attempt == 3)
                return found;
        }
    }

    private delegate T? Parser<T>(ReadOnlySpan<byte> payload)
        where T : struct;

    internal static HostLink? ParseLink(ReadOnlySpan<byte> payload)
    {
        if (payload.Length < 16)
            return null;
        var link = new HostLink(
            MemoryMarshal.Read<int>(payload[4..]), "", "", (MemoryMarshal.Read<uint>(payload[8..]) & RouteMessages.InterfaceUp) != 0, 0, 0, null, false, false);
        var attributes = new NetlinkAttributes(payload[16..]);
        while (attributes.MoveNext())
        {
            switch (attributes.Type)
            {
                case 3:
                    link = link with { Name = attributes.Text };
                    break;
                case 4 when attributes.Value.Length >= 4:
                    link = link with { Mtu = MemoryMarshal.Read<int>(attributes.Value) };
                    break;
                case 10 when attributes.Value.Length >= 4:
                    link = link with { Master = MemoryMarshal.Read<int>(attributes.Value) };
                    break;
                case 18:
                    link = WithInfo(link, attributes.Value);
                    break;
                // IFLA_LINK_NETNSID
                case 37 when attributes.Value.Length >= 4 && MemoryMarshal.Read<int>(attributes.Value) is >= 0 and var peer:
                    link = link with { PeerNamespace = peer };
                    break;
                default:
                    break;
            }
        }

        return link;
    }

    /// <summary>IFLA_LINKINFO: kind and data of the device itself, and those of it as a port of another.</summary>
    private static HostLink WithInfo(HostLink link, ReadOnlySpan<byte> info)
    {
        var isBridgePort = false;
        var attributes = new NetlinkAttributes(info);
        while (attributes.MoveNext())
        {
            if (attributes.Type == 1)
                link = link with { Kind = attributes.Text };
            else if (attributes.Type == 2 && link.Kind == "bridge")
                link = link with { FilterIPv4 = Flag(attributes.Value, 36) ?? false, FilterIPv6 = Flag(attributes.Value, 37) ?? false };
            else if (attributes.Type == 4)
                isBridgePort = attributes.Text == "bridge";
            else if (attributes.Type == 5 && isBridgePort)
                link = link with { Hairpin = Flag(attributes.Value, 4) ?? false };
        }

        return link;
    }

    private static bool? Flag(ReadOnlySpan<byte> nested, int type)
    {
        var attributes = new NetlinkAttributes(nested);
        while (attributes.MoveNext())
        {
            if (attributes.Type == type && attributes.Value.Length >= 1)
                return attributes.Value[0] != 0;
        }

        return null;
    }

    internal static HostRoute? ParseRoute(ReadOnlySpan<byte> payload)
    {
        if (payload.Length < 12 || payload[7] != Unicast)
            return null;
        var ipv6 = payload[0] == NetlinkCalls.AfInet6;
        var destination = new InetAddress(0, ipv6);
        var table = (uint)payload[4];
        var device = 0;
        var gateway = false;
        var attributes = new NetlinkAttributes(payload[12..]);
        while (attributes.MoveNext())
        {
            var value = attributes.Value;
            switch (attributes.Type)
            {
                case 1 when value.Length is 4 or 16:
                    destination = InetAddress.FromBytes(value);
                    break;
                case 4 when value.Length >= 4:
                    device = MemoryMarshal.Read<int>(value);
                    break;
                case 9 when value.Length >= 8:
                    // Several ways at once (struct rtnexthop): the first one's device, and always over another machine.
                    device = MemoryMarshal.Read<int>(value[4..]);
                    gateway = true;
                    break;
                case 5 or 18 or 30:
                    gateway = true;
                    break;
                case 15 when value.Length >= 4:
                    table = MemoryMarshal.Read<uint>(value);
                    break;
                default:
                    break;
            }
        }

        return table == MainTable ? new HostRoute(destination, payload[1], device, gateway) : null;
    }

    internal static HostDeviceSettings? ParseSettings(ReadOnlySpan<byte> payload)
    {
        if (payload.Length < 4)
            return null;
        var settings = new HostDeviceSettings(payload[0] == NetlinkCalls.AfInet6, 0, false, 0);
        var attributes = new NetlinkAttributes(payload[4..]);
        while (attributes.MoveNext())
        {
            if (attributes.Value.Length < 4)
                continue;
            var value = MemoryMarshal.Read<int>(attributes.Value);
            settings = attributes.Type switch
            {
                1 => settings with { Device = value },
                2 => settings with { Forwarding = value != 0 },
                3 => settings with { ReversePathFilter = value },
                _ => settings,
            };
        }

        return settings;
    }
}
