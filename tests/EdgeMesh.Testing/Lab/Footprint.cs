using System.Globalization;

namespace EdgeMesh.Testing.Lab;

/// <summary>What the resident memory of a native program consists of, from /proc/PID/smaps.</summary>
/// <param name="Code">Pages of the program's file, as they are in it.</param>
/// <param name="Data">Pages of the program's file and of what follows it, that were written to.</param>
/// <param name="Libraries">Other files.</param>
/// <param name="Collected">The heap of the garbage collector, which reserves the largest range of addresses.</param>
/// <param name="Native">The heap of the C library.</param>
/// <param name="Stacks">Of all threads.</param>
/// <param name="Other">The rest, such as the collector's own tables.</param>
public sealed record Footprint(long Code, long Data, long Libraries, long Collected, long Native, long Stacks, long Other)
{
    public long All => Code + Data + Libraries + Collected + Native + Stacks + Other;

    public static Footprint Read(int processId, string program)
    {
        var stackPointers = StackPointers(processId);
        var mappings = Parse(File.ReadLines($"/proc/{processId}/smaps"));
        var (heapStart, heapEnd) = Heap(mappings);
        var sum = new Footprint(0, 0, 0, 0, 0, 0, 0);
        var last = "";
        var own = '/' + Path.GetFileName(program);
        foreach (var each in mappings)
        {
            var dirty = each.Dirty;
            sum = each.File switch
            {
                "[heap]" => sum with { Native = sum.Native + each.Resident },
                "[stack]" => sum with { Stacks = sum.Stacks + each.Resident },
                _ when each.File.EndsWith(own, StringComparison.Ordinal) || (each.File.Length == 0 && last.EndsWith(own, StringComparison.Ordinal)) =>
                    sum with { Code = sum.Code + each.Resident - dirty, Data = sum.Data + dirty },
                { Length: > 0 } => sum with { Libraries = sum.Libraries + each.Resident },
                _ when stackPointers.Any(pointer => pointer >= each.Start && pointer < each.End) => sum with { Stacks = sum.Stacks + each.Resident },
                _ when each.Start >= heapStart && each.End <= heapEnd => sum with { Collected = sum.Collected + each.Resident },
                // An arena begins at a multiple of 64 MB.
                _ when each.Start % (64L << 20) == 0 => sum with { Native = sum.Native + each.Resident },
                _ => sum with { Other = sum.Other + each.Resident },
            };
            last = each.File.Length > 0 ? each.File : last;
        }

        return sum;
    }

    /// <summary>Processor time of its threads so far, to the microsecond.</summary>
    public static TimeSpan ProcessorTime(int processId) => TimeSpan.FromMicroseconds(
        Directory.EnumerateDirectories($"/proc/{processId}/task")
            .Sum(task => long.Parse(File.ReadAllText($"{task}/schedstat").Split(' ')[0], CultureInfo.InvariantCulture)) / 1000.0);

    public override string ToString() =>
        $"{Megabytes(All)} MB: program {Megabytes(Code)} as in its file and {Megabytes(Data)} written, libraries {Megabytes(Libraries)}, "
        + $"collected heap {Megabytes(Collected)}, native heap {Megabytes(Native)}, stacks {Megabytes(Stacks)}, other {Megabytes(Other)}";

    private static string Megabytes(long bytes) => (bytes / 1048576.0).ToString("0.0", CultureInfo.InvariantCulture);

    /// <summary>What is reserved and not used yet, and the nameless mappings that end where it begins.</summary>
    private static (long Start, long End) Heap(List<Mapping> mappings)
    {
        var reserved = mappings.IndexOf(mappings.Where(each => each.File.Length == 0).MaxBy(each => each.End - each.Start)!);
        var first = reserved;
        while (first > 0 && mappings[first - 1].File.Length == 0 && mappings[first - 1].End == mappings[first].Start)
            first--;
        return (mappings[first].Start, mappings[reserved].End);
    }

    /// <summary>Of threads that wait; one that runs at this moment tells none.</summary>
    private static List<long> StackPointers(int processId)
    {
        var pointers = new List<long>();
        foreach (var task in Directory.EnumerateDirectories($"/proc/{processId}/task"))
        {
            // "202 0x7f… 0x80 0x0 0x0 0x0 0x0 0x7ffc… 0x7f…": the last but one.
            var words = File.ReadAllText($"{task}/syscall").Split(' ');
            if (words.Length > 2)
                pointers.Add(long.Parse(words[^2].AsSpan(2), NumberStyles.HexNumber, CultureInfo.InvariantCulture));
        }

        return pointers;
    }

    private static List<Mapping> Parse(IEnumerable<string> smaps)
    {
        var mappings = new List<Mapping>();
        foreach (var line in smaps)
        {
            var words = line.Split(' ', StringSplitOptions.RemoveEmptyEntries);
            if (words[0].Contains('-'))
            {
                var range = words[0].Split('-');
                mappings.Add(new Mapping(
                    long.Parse(range[0], NumberStyles.HexNumber, CultureInfo.InvariantCulture),
                    long.Parse(range[1], NumberStyles.HexNumber, CultureInfo.InvariantCulture),
                    words.Length > 5 ? words[5] : ""));
            }
            else if (words[0] is "Rss:")
            {
                mappings[^1].Resident = 1024 * long.Parse(words[1], CultureInfo.InvariantCulture);
            }
            else if (words[0] is "Anonymous:")
            {
                mappings[^1].Dirty = 1024 * long.Parse(words[1], CultureInfo.InvariantCulture);
            }
        }

        return mappings;
    }

    private sealed class Mapping(long start, long end, string file)
    {
        public long Start => start;

        public long End => end;

        public string File => file;

        public long Resident { get; set; }

        public long Dirty { get; set; }
    }
}
