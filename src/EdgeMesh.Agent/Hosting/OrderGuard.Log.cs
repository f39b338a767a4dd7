using Microsoft.Extensions.Logging;

namespace EdgeMesh.Agent.Hosting;

internal sealed partial class OrderGuard
{
    [LoggerMessage(1100, LogLevel.Warning,
        "Rule changes of others cannot be watched and are looked for every {Seconds} s instead. {Reason}")]
    private partial void LogNoEvents(double seconds, string reason);

    [LoggerMessage(1101, LogLevel.Warning, "Repaired: {Repair}")]
    private partial void LogDeviceRepair(string repair);

    [LoggerMessage(1102, LogLevel.Warning, "The listen device could not be checked; next try in {Seconds} s. {Reason}")]
    private partial void LogDeviceFault(double seconds, string reason);

    [LoggerMessage(1103, LogLevel.Debug, "Somebody changed rules that matter ({Changes}, {Chains} chains of ours); they are looked at")]
    private partial void LogChanged(string changes, int chains);
}
