using System.Collections.Immutable;

namespace EdgeMesh.Linux.Netlink;

/// <summary>A line of text that a bridge device carries as its alias.</summary>
public sealed record LinkMark(string Device, string Text);

/// <summary>Text on bridge devices of this network namespace. Everybody can read it; only who has CAP_NET_ADMIN over the
/// namespace can write it.</summary>
public static class LinkMarks
{
    private static readonly TimeSpan Deadline = TimeSpan.FromSeconds(5);

    /// <summary>The bridges whose text begins with this.</summary>
    /// <exception cref="NetlinkException">The kernel does not list its devices.</exception>
    public static ImmutableArray<LinkMark> Find(string beginning)
    {
        using var socket = NetlinkSocket.Open(NetlinkSocket.ProtocolRoute, Deadline);
        return
        [
            .. RouteMessages.Links(socket)
                .Where(link => link.Kind == "bridge" && link.Alias.StartsWith(beginning, StringComparison.Ordinal))
                .Select(link => new LinkMark(link.Name, link.Alias)),
        ];
    }

    /// <summary>Writes the text, or removes it if it is empty.</summary>
    /// <returns>What stood there before.</returns>
    /// <exception cref="NetlinkException">The device is not there, or the process may not.</exception>
    public static string Exchange(string device, string text)
    {
        using var socket = NetlinkSocket.Open(NetlinkSocket.ProtocolRoute, Deadline);
        var errno = RouteMessages.ExchangeAlias(socket, device, text, out var before);
        return errno == 0 ? before : throw new NetlinkException($"Marking the network device {device}", errno);
    }
}
