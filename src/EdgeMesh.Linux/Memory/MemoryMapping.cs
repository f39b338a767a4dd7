using System.Globalization;

namespace EdgeMesh.Linux.Memory;

/// <summary>One mapping of a process, as <c>/proc/PID/smaps</c> tells it (proc(5)).</summary>
/// <param name="Start">Its first byte.</param>
/// <param name="End">The byte behind its last one.</param>
/// <param name="Permissions">Four characters: <c>r-xp</c>; the last is <c>p</c> for private, <c>s</c> for shared.</param>
/// <param name="File">The mapped file; empty, or a word in brackets, for memory of no file.</param>
/// <param name="ResidentBytes">How much of it is in this process's page table.</param>
/// <param name="IsAsInFile">No resident page differs from the file: each can be read from it again.</param>
public readonly record struct MemoryMapping(ulong Start, ulong End, string Permissions, string File, long ResidentBytes, bool IsAsInFile)
{
    private const string Deleted = " (deleted)";

    // Each of these counts pages that the file does not hold, or that must stay where they are.
    private static readonly string[] _reasonsToStay = ["Private_Dirty:", "Shared_Dirty:", "Anonymous:", "Swap:", "Locked:"];

    /// <summary>Of a file that is still there, and that this process can change neither in memory nor on the disk.</summary>
    public bool IsUnchangeableFile =>
        File.StartsWith('/') && !File.EndsWith(Deleted, StringComparison.Ordinal) && Permissions is ['r', '-', _, 'p'];

    /// <param name="lines">The lines of smaps. What is not understood counts as a reason to leave a mapping alone.</param>
    public static IEnumerable<MemoryMapping> Parse(IEnumerable<string> lines)
    {
        ArgumentNullException.ThrowIfNull(lines);
        MemoryMapping? mapping = null;
        foreach (var line in lines)
        {
            if (Head(line) is { } next)
            {
                if (mapping is { } whole)
                    yield return whole;
                mapping = next;
            }
            else if (mapping is { } open)
            {
                mapping = open.With(line);
            }
        }

        if (mapping is { } last)
            yield return last;
    }

    /// <summary><c>7f1c2a000000-7f1c2a021000 r--p 00001000 fe:01 1234    /usr/lib/libc.so.6</c></summary>
    private static MemoryMapping? Head(string line)
    {
        // The names of the fields begin with a capital letter.
        if (line.Length == 0 || !char.IsAsciiHexDigitLower(line[0]))
            return null;
        var words = line.Split(' ', 6, StringSplitOptions.RemoveEmptyEntries);
        if (words.Length < 5 || words[1].Length != 4 || words[0].Split('-') is not [var start, var end])
            return null;
        return ulong.TryParse(start, NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out var from)
            && ulong.TryParse(end, NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out var to)
                ? new MemoryMapping(from, to, words[1], words.Length == 6 ? words[5] : "", 0, IsAsInFile: true)
                : null;
    }

    /// <summary><c>Rss:                 132 kB</c></summary>
    private MemoryMapping With(string line)
    {
        if (line.StartsWith("Rss:", StringComparison.Ordinal))
            return this with { ResidentBytes = Kilobytes(line) is { } resident ? resident * 1024 : 0 };
        return IsAsInFile && Array.Exists(_reasonsToStay, reason => line.StartsWith(reason, StringComparison.Ordinal)) && Kilobytes(line) != 0
            ? this with { IsAsInFile = false }
            : this;
    }

    private static long? Kilobytes(string line) =>
        line.Split(' ', StringSplitOptions.RemoveEmptyEntries) is [_, var number, "kB"]
        && long.TryParse(number, NumberStyles.None, CultureInfo.InvariantCulture, out var value)
            ? value
            : null;
}
