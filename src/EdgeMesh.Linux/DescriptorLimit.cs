using EdgeMesh.Linux.Sockets;
using Microsoft.Extensions.Logging;

namespace EdgeMesh.Linux;

/// <summary>The most descriptors that this process may have open (RLIMIT_NOFILE).</summary>
public static unsafe partial class DescriptorLimit
{
    private const int RLIMIT_NOFILE = 7;

    /// <summary>Raises the limit as far as it may, says once if that is less than <paramref name="wanted"/>, and returns
    /// what is in force.</summary>
    public static long Raise(long wanted, ILogger logger)
    {
        if (TryRaise(wanted) is not { } granted)
        {
            LogUnknown(logger, Errno.Describe(-Libc.Failure()));
            return 1024;
        }

        if (granted < wanted)
            LogLow(logger, granted, wanted, granted / 2);
        return granted;
    }

    /// <returns>What is in force, or null if that cannot be read.</returns>
    internal static long? TryRaise(long wanted)
    {
        Libc.ResourceLimit limit;
        if (Libc.getrlimit(RLIMIT_NOFILE, &limit) < 0)
            return null;

        var target = (ulong)wanted;
        if (limit.Hard < target)
        {
            // Only with CAP_SYS_RESOURCE, and not above fs.nr_open.
            var raised = new Libc.ResourceLimit { Soft = target, Hard = target };
            if (Libc.setrlimit(RLIMIT_NOFILE, &raised) == 0)
                return wanted;
        }

        if (limit.Soft < limit.Hard)
        {
            var raised = new Libc.ResourceLimit { Soft = limit.Hard, Hard = limit.Hard };
            if (Libc.setrlimit(RLIMIT_NOFILE, &raised) == 0)
                limit.Soft = limit.Hard;
        }

        return (long)Math.Min(limit.Soft, long.MaxValue);
    }

    [LoggerMessage(2100, LogLevel.Warning, "The limit of open files is {Granted} and may not be raised to {Wanted}: about {Connections} connections can be open at once, more are refused. Raise LimitNOFILE of the service, or give it CAP_SYS_RESOURCE.")]
    private static partial void LogLow(ILogger logger, long granted, long wanted, long connections);

    [LoggerMessage(2101, LogLevel.Warning, "The limit of open files could not be read ({Reason}); 1024 is assumed.")]
    private static partial void LogUnknown(ILogger logger, string reason);
}
