using EdgeMesh.Testing.Lab;

namespace EdgeMesh.HostTests.Trouble;

/// <summary>A machine on which only some programs are installed: those alone are in the folders where the agent looks.</summary>
internal static class Programs
{
    public static string[] Iptables(string suffix) =>
        [.. ((string[])["iptables", "ip6tables"]).SelectMany(name => ((string[])["", "-save", "-restore"]).Select(part => name + suffix + part))];

    /// <summary>In front of a command line: it becomes that command, in a mount namespace of its own.</summary>
    /// <param name="installed">Programs of /usr/sbin; what is not there on this machine fails the command.</param>
    public static string[] Only(NamespaceLab lab, params string[] installed)
    {
        var folder = Directory.CreateDirectory(Path.Combine(lab.Folder, $"sbin-{Guid.NewGuid():N}")).FullName;
        return ["unshare", "--mount", "--propagation", "private", "sh", "-ec", "for p in $1; do cp -L /usr/sbin/$p \"$0/$p\"; done; shift; mount --bind \"$0\" /usr/sbin; [ -L /sbin ] || mount --bind \"$0\" /sbin; exec \"$@\"", folder, string.Join(' ', installed)];
    }

    /// <summary>A program that holds the lock on a file until it is killed.</summary>
    public static async Task<LabProcess> HoldAsync(NamespaceLab lab, string file)
    {
        var holder = lab.Start("node", "sh", "-ec", "exec 9>\"$0\"; flock 9; echo held; exec sleep infinity", file);
        await Eventually.SeesAsync(() => holder.Log, log => log.Contains("held", StringComparison.Ordinal), TimeSpan.FromSeconds(10));
        return holder;
    }
}
