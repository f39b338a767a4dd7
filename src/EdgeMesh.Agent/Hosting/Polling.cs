using EdgeMesh.Linux;

namespace EdgeMesh.Agent.Hosting;

/// <summary>How long the loops of this process look for the next small message before they sleep.</summary>
internal static class Polling
{
    /// <summary>Zero under a quota of CPU time, where time spent looking is taken from the work.</summary>
    public static TimeSpan Limit { get; } = OrNone(TimeSpan.FromMicroseconds(50));

    /// <summary>For the tunnel's loop: its peer is another node, and an answer passes two or three of these loops.</summary>
    public static TimeSpan TunnelLimit { get; } = OrNone(TimeSpan.FromMicroseconds(200));

    private static TimeSpan OrNone(TimeSpan limit) => ProcessorQuota.IsLimited() ? TimeSpan.Zero : limit;
}
