using System.Collections.Immutable;
using System.Security.Cryptography;
using EdgeMesh.Linux.Memory;
using Xunit;

namespace EdgeMesh.Tests.Linux.Memory;

public sealed class ProgramPagesTests
{
    [Fact]
    public void AMappingIsReadFromItsLines()
    {
        var mapping = Assert.Single(Parse(Mapping("7f1c2a000000-7f1c2a200000 r-xp 00001000 fe:01 1234    /usr/lib/a file.so", resident: 132)));
        Assert.Equal(
            new MemoryMapping(0x7f1c2a000000, 0x7f1c2a200000, "r-xp", "/usr/lib/a file.so", 132 * 1024, IsAsInFile: true), mapping);
    }

    [Fact]
    public void EachMappingHasItsOwnLines()
    {
        var mappings = Parse(
            Mapping("1000-2000 r--p 00000000 fe:01 1    /a", resident: 4, anonymous: 4)
            + Mapping("2000-3000 rw-p 00000000 00:00 0", resident: 8)
            + Mapping("ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0                  [vsyscall]", resident: 0));
        Assert.Equal(["/a", "", "[vsyscall]"], mappings.Select(m => m.File));
        Assert.Equal([4096, 8192, 0], mappings.Select(m => m.ResidentBytes));
        Assert.Equal([false, true, true], mappings.Select(m => m.IsAsInFile));
    }

    [Theory]
    [InlineData("1000-2000 r-xp 00000000 fe:01 1    /usr/lib/code.so")]
    [InlineData("1000-2000 r--p 00000000 fe:01 1    /usr/lib/constants.so")]
    public void CleanPagesOfAFileThatCannotBeWrittenMayGo(string head) =>
        Assert.Single(ProgramPages.Candidates(Lines(Mapping(head, resident: 4))));

    [Theory]
    [InlineData("1000-2000 rw-p 00000000 fe:01 1    /usr/lib/data.so")]
    [InlineData("1000-2000 rwxp 00000000 fe:01 1    /usr/lib/patched.so")]
    [InlineData("1000-2000 r--s 00000000 fe:01 1    /memfd:doublemapper")]
    [InlineData("1000-2000 r-xp 00000000 fe:01 1    /usr/lib/old.so (deleted)")]
    [InlineData("1000-2000 ---p 00000000 fe:01 1    /usr/lib/gap.so")]
    [InlineData("1000-2000 r--p 00000000 00:00 0")]
    [InlineData("1000-2000 r-xp 00000000 00:00 0    [vdso]")]
    public void WhateverElseIsMappedStays(string head) =>
        Assert.Empty(ProgramPages.Candidates(Lines(Mapping(head, resident: 4))));

    [Theory]
    [InlineData("Private_Dirty:         4 kB")]
    [InlineData("Shared_Dirty:          4 kB")]
    [InlineData("Anonymous:             4 kB")]
    [InlineData("Swap:                  4 kB")]
    [InlineData("Locked:                4 kB")]
    [InlineData("Anonymous:             many")]
    public void PagesThatTheFileDoesNotHoldStay(string line) =>
        Assert.Empty(ProgramPages.Candidates(Lines(Mapping("1000-2000 r-xp 00000000 fe:01 1    /a.so", resident: 4) + line)));

    [Fact]
    public void NothingResidentIsNothingToGiveBack() =>
        Assert.Empty(ProgramPages.Candidates(Lines(Mapping("1000-2000 r-xp 00000000 fe:01 1    /a.so", resident: 0))));

    [Fact]
    public void WhatWasMappedBetweenTheLooksStays()
    {
        var old = Clean(0x1000, "/old.so");
        Assert.Equal([old], ProgramPages.InBoth([old], [old with { ResidentBytes = old.ResidentBytes }, Clean(0x3000, "/new.so")]));
    }

    [Fact]
    public void WhatHasOtherPermissionsOrAnotherFileNowStays() =>
        Assert.Empty(ProgramPages.InBoth(
            [Clean(0x1000, "/a.so"), Clean(0x3000, "/b.so")],
            [Clean(0x1000, "/a.so") with { Permissions = "r--p" }, Clean(0x3000, "/c.so")]));

    [Fact]
    public void AProgramGoesOnAfterItsPagesWereGivenBack()
    {
        var before = Sha256OfItself();
        Assert.True(ProgramPages.Release(ProgramPages.Look()) > 0);
        Assert.Equal(before, Sha256OfItself());
        Assert.NotEmpty(ProgramPages.Look());
    }

    private static string Sha256OfItself() =>
        Convert.ToHexString(SHA256.HashData(File.ReadAllBytes(typeof(ProgramPages).Assembly.Location)));

    private static MemoryMapping Clean(ulong start, string file) => new(start, start + 0x1000, "r-xp", file, 4096, IsAsInFile: true);

    private static ImmutableArray<MemoryMapping> Parse(string smaps) => [.. MemoryMapping.Parse(Lines(smaps))];

    private static string[] Lines(string text) => text.Split('\n');

    private static string Mapping(string head, int resident, int anonymous = 0) => $"""
        {head}
        Size:                  4 kB
        KernelPageSize:        4 kB
        Rss:           {resident,9} kB
        Pss:                   2 kB
        Shared_Clean:          4 kB
        Shared_Dirty:          0 kB
        Private_Clean:         0 kB
        Private_Dirty:         0 kB
        Anonymous:     {anonymous,9} kB
        Swap:                  0 kB
        Locked:                0 kB
        THPeligible:           0
        VmFlags: rd ex mr mw me sd

        """;
}
