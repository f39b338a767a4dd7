using EdgeMesh.Linux;

namespace EdgeMesh.Agent.Hosting;

/// <summary>How long the loops of this process look for the next small message before they sleep.</summary>
internal static class Polling
{
    /// <summary>Zero under a quota of CPU time, where time spent looking is taken from the work.</summary>
    public static TimeSpan Limit { get; } = ProcessorQuota.IsLimited() ? TimeSpan.Zero : TimeSpan.FromMicroseconds(50);
}
