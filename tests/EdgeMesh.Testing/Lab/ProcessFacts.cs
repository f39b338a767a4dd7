using System.Globalization;

namespace EdgeMesh.Testing.Lab;

/// <summary>What /proc says about a process at one moment.</summary>
/// <param name="ResidentBytes">RSS.</param>
/// <param name="OwnBytes">RSS without the pages of program files, which are the machine's page cache.</param>
/// <param name="ProcessorTime">User and system time since its start.</param>
/// <param name="ChildrenTime">The same of the processes that it started and that have ended.</param>
public sealed record ProcessFacts(int Descriptors, int Threads, long ResidentBytes, long OwnBytes, TimeSpan ProcessorTime, TimeSpan ChildrenTime)
{
    // USER_HZ, which is 100 in every Linux ABI that .NET runs on.
    private const double TicksPerSecond = 100;

    public static ProcessFacts Read(int processId)
    {
        var descriptors = Directory.EnumerateFileSystemEntries($"/proc/{processId}/fd").Count();
        var stat = File.ReadAllText($"/proc/{processId}/stat");
        // The fields after the name, which may hold blanks: [0] is field 3 of proc(5).
        var fields = stat[(stat.LastIndexOf(')') + 2)..].Split(' ');
        return new ProcessFacts(
            descriptors,
            Number(fields[17]),
            Number(fields[21]) * (long)Environment.SystemPageSize,
            Own(processId),
            TimeSpan.FromSeconds((Number(fields[11]) + Number(fields[12])) / TicksPerSecond),
            TimeSpan.FromSeconds((Number(fields[13]) + Number(fields[14])) / TicksPerSecond));
    }

    private static long Own(int processId) => File.ReadLines($"/proc/{processId}/status")
        .Where(line => line.StartsWith("RssAnon:", StringComparison.Ordinal) || line.StartsWith("RssShmem:", StringComparison.Ordinal))
        .Sum(line => 1024L * Number(line.Split(' ', '\t').First(word => word.Length > 0 && char.IsAsciiDigit(word[0]))));

    private static int Number(string text) => int.Parse(text, CultureInfo.InvariantCulture);
}
