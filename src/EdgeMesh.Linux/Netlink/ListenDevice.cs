using System.Collections.Immutable;
using System.Text;
using EdgeMesh.Net;

namespace EdgeMesh.Linux.Netlink;

/// <summary>What <see cref="ListenDevice.Ensure"/> found and did.</summary>
/// <param name="Repairs">One line per change made to a device that was already there; empty when all was in order.</param>
/// <param name="IPv6Missing">Null: the IPv6 addresses stand (or none was asked for). Else why this node cannot have them.</param>
public sealed record ListenDeviceState(string Name, int Index, bool Created, ImmutableArray<string> Repairs, string? IPv6Missing);

/// <summary>The bridge device without ports that carries the listener's addresses: nothing is ever sent on it,
/// it only makes the addresses local, in whatever state the node's real links are.</summary>
public static class ListenDevice
{
    private static readonly TimeSpan Deadline = TimeSpan.FromSeconds(5);

    /// <summary>Makes sure that the device exists, is up and has each address as a single host (/32, /128).
    /// Repeatable. Addresses of others on it are left alone.</summary>
    /// <exception cref="NetlinkException">The device cannot be made, or the name belongs to a device of another kind.</exception>
    public static ListenDeviceState Ensure(string name, IReadOnlyList<InetAddress> addresses)
    {
        ArgumentNullException.ThrowIfNull(addresses);
        CheckName(name);
        using var socket = NetlinkSocket.Open(NetlinkSocket.ProtocolRoute, Deadline);
        var link = RouteMessages.FindLink(socket, name);
        var created = link is null;
        var repairs = ImmutableArray.CreateBuilder<string>();
        if (link is null)
        {
            var errno = RouteMessages.CreateBridge(socket, name);
            // EEXIST: another agent was faster; whose device it is we see below.
            if (errno is not (0 or NetlinkCalls.Eexist))
                throw new NetlinkException($"Creating the bridge device {name}", errno);
            link = RouteMessages.FindLink(socket, name)
                ?? throw new NetlinkException($"The bridge device {name} vanished right after it was created; does another program remove it?");
        }

        if (link.Kind != "bridge")
        {
            throw new NetlinkException(
                $"The network device {name} exists but is not a bridge (it is {(link.Kind.Length == 0 ? "a physical or loopback device" : link.Kind)}). "
                + "Rename or remove it, or set commonConfig.bridgeDeviceName to another name.");
        }

        if ((link.Flags & RouteMessages.InterfaceUp) == 0)
        {
            var errno = RouteMessages.SetUp(socket, link.Index);
            if (errno != 0)
                throw new NetlinkException($"Setting the device {name} up", errno);
            repairs.Add($"device {name} was down and is up again");
        }

        string? missing = null;
        var present = RouteMessages.Addresses(socket);
        foreach (var address in addresses)
            missing ??= EnsureAddress(socket, link, address, present, created, repairs);
        return new ListenDeviceState(name, link.Index, created, repairs.ToImmutable(), missing);
    }

    /// <summary>Removes the device if it is a bridge; a device of another kind is not ours and stays.</summary>
    /// <returns>True when it was there and is gone now.</returns>
    public static bool Remove(string name)
    {
        CheckName(name);
        using var socket = NetlinkSocket.Open(NetlinkSocket.ProtocolRoute, Deadline);
        if (RouteMessages.FindLink(socket, name) is not { Kind: "bridge" } link)
            return false;
        var errno = RouteMessages.Remove(socket, link.Index);
        return errno switch
        {
            0 => true,
            NetlinkCalls.Enodev => false,
            _ => throw new NetlinkException($"Removing the bridge device {name}", errno),
        };
    }

    /// <summary>The bridge devices that are the agent's: those of these names, those whose alias begins so, and those that have
    /// nothing but these addresses.</summary>
    /// <exception cref="NetlinkException">The kernel does not list its devices.</exception>
    public static ImmutableArray<string> Ours(IReadOnlyCollection<string> names, string alias, IReadOnlyCollection<InetAddress> addresses)
    {
        using var socket = NetlinkSocket.Open(NetlinkSocket.ProtocolRoute, Deadline);
        var held = RouteMessages.Addresses(socket).ToLookup(address => address.Index);
        return
        [
            .. RouteMessages.Links(socket)
                .Where(link => link.Kind == "bridge"
                    && (names.Contains(link.Name)
                        || link.Alias.StartsWith(alias, StringComparison.Ordinal)
                        || HasOnly([.. held[link.Index]], addresses)))
                .Select(link => link.Name),
        ];
    }

    /// <returns>Null, or why the node cannot have this IPv6 address.</returns>
    private static string? EnsureAddress(
        NetlinkSocket socket,
        RouteMessages.Link link,
        InetAddress address,
        ImmutableArray<RouteMessages.LinkAddress> present,
        bool created,
        ImmutableArray<string>.Builder repairs)
    {
        var hostPrefix = address.Width;
        var standing = false;
        foreach (var other in present)
        {
            if (other.Index != link.Index || other.Address != address)
                continue;
            // An address in or after failed duplicate detection is refused by bind(2).
            var usable = !address.IsIPv6 || (other.Flags & (RouteMessages.FlagDadFailed | RouteMessages.FlagTentative)) == 0;
            if (other.PrefixLength == hostPrefix && usable)
            {
                standing = true;
                continue;
            }

            var errno = RouteMessages.ChangeAddress(socket, add: false, other);
            if (errno is not (0 or NetlinkCalls.Eaddrnotavail))
                throw new NetlinkException($"Removing the wrong address {address}/{other.PrefixLength} from {link.Name}", errno);
            repairs.Add($"address {address}/{other.PrefixLength} on {link.Name} was wrong and is replaced by /{hostPrefix}");
        }

        if (standing)
            return null;
        var wanted = new RouteMessages.LinkAddress(
            link.Index,
            address,
            hostPrefix,
            address.IsIPv6 ? RouteMessages.FlagNoDad : 0,
            // Link scope: the kernel then never picks the listener's IPv4 address as the source of other traffic.
            address.IsIPv6 ? RouteMessages.ScopeUniverse : RouteMessages.ScopeLink);
        var added = RouteMessages.ChangeAddress(socket, add: true, wanted);
        switch (added)
        {
            case 0:
                if (!created)
                    repairs.Add($"address {address}/{hostPrefix} was missing on {link.Name} and is back");
                return null;
            case NetlinkCalls.Eexist:
                return null;
            case NetlinkCalls.Eacces or NetlinkCalls.Eperm when address.IsIPv6 && IPv6IsDisabledOn(link.Name):
                return $"IPv6 is disabled on {link.Name} (net.ipv6.conf.all.disable_ipv6 or net.ipv6.conf.default.disable_ipv6 is 1)";
            case NetlinkCalls.Eafnosupport or NetlinkCalls.Eopnotsupp when address.IsIPv6:
                return "the kernel runs without IPv6 (ipv6.disable=1 or no ipv6 module)";
            default:
                throw new NetlinkException($"Adding the address {address}/{hostPrefix} to {link.Name}", added);
        }
    }

    /// <summary>The kernel adds a link-local IPv6 address by itself.</summary>
    private static bool HasOnly(ImmutableArray<RouteMessages.LinkAddress> held, IReadOnlyCollection<InetAddress> addresses) =>
        held.Any(address => addresses.Contains(address.Address))
        && held.All(address => addresses.Contains(address.Address) || (address.Address.IsIPv6 && address.Scope == RouteMessages.ScopeLink));

    private static bool IPv6IsDisabledOn(string name)
    {
        try
        {
            return File.ReadAllText($"/proc/sys/net/ipv6/conf/{name}/disable_ipv6").Trim() != "0";
        }
        catch (IOException)
        {
            // Without the file the device has no IPv6 at all.
            return true;
        }
    }

    private static void CheckName(string name)
    {
        ArgumentException.ThrowIfNullOrEmpty(name);
        // The kernel's own rule (dev_valid_name): at most 15 bytes, no slash, colon or white space.
        if (Encoding.UTF8.GetByteCount(name) > 15 || name is "." or ".." || name.Any(c => c is '/' or ':' || char.IsWhiteSpace(c)))
            throw new ArgumentException($"'{name}' cannot be the name of a network device: at most 15 bytes, no '/', ':' or space.", nameof(name));
    }
}
