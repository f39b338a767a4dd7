using System.Buffers.Binary;
using System.Globalization;
using EdgeMesh.Net;

namespace EdgeMesh.Linux;

/// <summary>A TCP socket that listens, or a UDP socket.</summary>
/// <param name="User">Whose it is, by number.</param>
public readonly record struct BoundPort(InetEndpoint Local, uint User);

/// <summary>The ports of this network namespace that are taken (/proc/net/tcp, tcp6, udp, udp6).</summary>
public static class BoundPorts
{
    private const string Listening = "0A";

    private static readonly (string File, bool IsIPv6, bool IsTcp)[] Tables =
        [("/proc/net/tcp", false, true), ("/proc/net/tcp6", true, true), ("/proc/net/udp", false, false), ("/proc/net/udp6", true, false)];

    /// <summary>As they are now; nothing of a table that this kernel does not have.</summary>
    public static IEnumerable<BoundPort> List() => Tables.SelectMany(Of);

    /// <summary>A listening TCP socket of this process's user at just this place.</summary>
    public static bool IsListenedOnByThisUser(InetEndpoint place)
    {
        var user = PeerCredentials.OwnUser;
        return Tables.Where(table => table.IsTcp && table.IsIPv6 == place.Address.IsIPv6).SelectMany(Of).Any(port => port.Local == place && port.User == user);
    }

    /// <summary>Sockets that get what comes to this place: those that are bound to it, and those that are bound to its port on every address.</summary>
    public static int CountAt(InetEndpoint place, bool isTcp) => Tables.Where(table => table.IsTcp == isTcp).SelectMany(Of)
        .Count(port => port.Local.Port == place.Port && (port.Local.Address == place.Address || port.Local.Address.Bits == 0));

    internal static IEnumerable<BoundPort> Parse(IEnumerable<string> table, bool ipv6, bool tcp)
    {
        foreach (var line in table.Skip(1))
        {
            // sl local remote st queues timer retransmits uid timeout inode
            var fields = line.Split(' ', StringSplitOptions.RemoveEmptyEntries);
            if (fields.Length < 10)
                continue;
            // The kernel lists those that listen first.
            if (tcp && fields[3] != Listening)
                yield break;
            if (TryPlace(fields[1], ipv6, out var place) && uint.TryParse(fields[7], NumberStyles.None, CultureInfo.InvariantCulture, out var user))
                yield return new BoundPort(place, user);
        }
    }

    private static IEnumerable<BoundPort> Of((string File, bool IsIPv6, bool IsTcp) table) =>
        File.Exists(table.File) ? Parse(File.ReadLines(table.File), table.IsIPv6, table.IsTcp) : [];

    /// <summary>An address as words of 32 bits in the machine's order, little-endian on every machine that the program is built for.</summary>
    private static bool TryPlace(string text, bool ipv6, out InetEndpoint place)
    {
        place = default;
        var digits = ipv6 ? 32 : 8;
        if (text.Length != digits + 5 || text[digits] != ':' || !ushort.TryParse(text.AsSpan(digits + 1), NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out var port))
            return false;
        Span<byte> bytes = stackalloc byte[16];
        for (var word = 0; word < digits / 8; word++)
        {
            if (!uint.TryParse(text.AsSpan(word * 8, 8), NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out var value))
                return false;
            BinaryPrimitives.WriteUInt32LittleEndian(bytes[(word * 4)..], value);
        }

        place = new InetEndpoint(InetAddress.FromBytes(bytes[..(digits / 2)]), port);
        return true;
    }
}
