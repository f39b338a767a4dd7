using System.Globalization;

namespace EdgeMesh.Linux;

/// <summary>The listening abstract sockets of this network namespace (/proc/net/unix).</summary>
public static class UnixListeners
{
    private const string Table = "/proc/net/unix";

    /// <summary>SO_ACCEPTCON: the accepted ends of connections carry the listener's name too.</summary>
    private const long Listening = 0x10000;

    /// <summary>The table prints names as they are, line breaks too. A name this long leaves no room in the 108 bytes of
    /// another socket's name for a forged line about it.</summary>
    public const int ShortestName = 90;

    /// <param name="name">At least <see cref="ShortestName"/> long.</param>
    /// <returns>The inode of the socket that listens under this abstract name; null when none does.</returns>
    /// <exception cref="IOException">There is no such table here.</exception>
    public static long? InodeOf(string name) => InodeOf(File.ReadLines(Table), name);

    internal static long? InodeOf(IEnumerable<string> table, string name)
    {
        if (name.Length < ShortestName)
            return null;
        var end = " @" + name;
        foreach (var line in table)
        {
            if (!line.EndsWith(end, StringComparison.Ordinal))
                continue;
            // Num RefCount Protocol Flags Type St Inode Path
            var fields = line.Split(' ', StringSplitOptions.RemoveEmptyEntries);
            if (fields.Length == 8
                && long.TryParse(fields[3], NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out var flags)
                && (flags & Listening) != 0
                && long.TryParse(fields[6], NumberStyles.None, CultureInfo.InvariantCulture, out var inode))
            {
                return inode;
            }
        }

        return null;
    }
}
