using System.Collections.Immutable;
using EdgeMesh.Linux.Sockets;

namespace EdgeMesh.Linux.Memory;

/// <summary>Gives back the pages of program files that only the start of this process has touched. They stay in the page
/// cache, so that one that is needed again comes back without the disk, and what is never needed again no longer counts.</summary>
public static class ProgramPages
{
    private const int MADV_DONTNEED = 4;

    /// <summary>The mappings of this process that consist of pages that a file holds just so.</summary>
    public static ImmutableArray<MemoryMapping> Look()
    {
        try
        {
            return Candidates(File.ReadLines("/proc/self/smaps"));
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            // A kernel without it: nothing can be given back.
            return [];
        }
    }

    internal static ImmutableArray<MemoryMapping> Candidates(IEnumerable<string> smaps) =>
        [.. MemoryMapping.Parse(smaps).Where(m => m.IsUnchangeableFile && m.IsAsInFile && m.ResidentBytes > 0)];

    /// <summary>What both looks have seen. A program file is relocated right after it was mapped, by writing into it, and
    /// pages must never be given back between such a look and such a write: what is written would be lost.</summary>
    /// <param name="before">Of seconds ago: what was mapped then is finished now.</param>
    internal static ImmutableArray<MemoryMapping> InBoth(ImmutableArray<MemoryMapping> before, ImmutableArray<MemoryMapping> now)
    {
        var known = before.Select(m => (m.Start, m.End, m.Permissions, m.File)).ToHashSet();
        return [.. now.Where(m => known.Contains((m.Start, m.End, m.Permissions, m.File)))];
    }

    /// <param name="before">What <see cref="Look"/> said some seconds ago.</param>
    /// <returns>Bytes given back.</returns>
    public static unsafe long Release(ImmutableArray<MemoryMapping> before)
    {
        var released = 0L;
        foreach (var mapping in InBoth(before, Look()))
        {
            if (Libc.madvise((void*)mapping.Start, (nuint)(mapping.End - mapping.Start), MADV_DONTNEED) == 0)
                released += mapping.ResidentBytes;
        }

        return released;
    }

    /// <summary>Has the C library give back what it keeps of freed memory: the runtime's compiler takes and frees megabytes.</summary>
    public static void TrimHeap()
    {
        try
        {
            _ = Libc.malloc_trim(0);
        }
        catch (EntryPointNotFoundException)
        {
            // Other libraries than glibc have no such call, and keep less.
        }
    }
}
