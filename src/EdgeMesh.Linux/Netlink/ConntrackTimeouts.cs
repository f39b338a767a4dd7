using System.Globalization;

namespace EdgeMesh.Linux.Netlink;

/// <summary>How long conntrack keeps UDP flows without a packet: net.netfilter.nf_conntrack_udp_timeout, and _stream for those
/// that have gone both ways for two seconds.</summary>
public sealed record ConntrackTimeouts(TimeSpan Udp, TimeSpan UdpStream)
{
    /// <summary>The kernel's own since 5.1.</summary>
    public static ConntrackTimeouts Default { get; } = new(TimeSpan.FromSeconds(30), TimeSpan.FromSeconds(120));

    /// <summary>As they are in this network namespace; the default where they cannot be read.</summary>
    public static ConntrackTimeouts Read(string folder = "/proc/sys/net/netfilter") => new(
        Read(folder, "nf_conntrack_udp_timeout") ?? Default.Udp,
        Read(folder, "nf_conntrack_udp_timeout_stream") ?? Default.UdpStream);

    private static TimeSpan? Read(string folder, string name)
    {
        try
        {
            var text = File.ReadAllText(Path.Combine(folder, name));
            return int.TryParse(text.AsSpan().Trim(), NumberStyles.None, CultureInfo.InvariantCulture, out var seconds) && seconds > 0
                ? TimeSpan.FromSeconds(seconds)
                : null;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            // The part of the kernel is not loaded yet, and has its defaults when it is.
            return null;
        }
    }
}
