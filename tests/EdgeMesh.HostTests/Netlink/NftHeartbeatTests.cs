using System.Diagnostics;
using EdgeMesh.Linux.Netlink;
using EdgeMesh.Net;
using EdgeMesh.Testing.Lab;
using Xunit;

namespace EdgeMesh.HostTests.Netlink;

public sealed class NftHeartbeatTests
{
    private static readonly NftSetName[] _sets =
        [new(IpFamily.IPv4, "edgemesh", "alive"), new(IpFamily.IPv6, "edgemesh", "alive")];

    [Fact]
    public async Task BeatsRenewTheElementsAndWithoutThemTheKernelForgetsWithin5Seconds()
    {
        await using var lab = await ListenDeviceTests.BareLabAsync();
        await MakeSetsAsync(lab);
        using var heartbeat = Start(lab);
        var watch = Stopwatch.StartNew();
        while (watch.Elapsed < TimeSpan.FromSeconds(6))
        {
            await BeatAsync(heartbeat);
            var listed = await ListAsync(lab);
            Assert.Contains("tcp", listed, StringComparison.Ordinal);
            Assert.Contains("udp", listed, StringComparison.Ordinal);
        }

        var last = Stopwatch.StartNew();
        await Eventually.HoldsAsync(async () => !(await ListAsync(lab)).Contains("expires", StringComparison.Ordinal), TimeSpan.FromSeconds(6));
        Assert.InRange(last.Elapsed.TotalSeconds, 3, 5);
        Assert.Null(heartbeat.LastFailure);

        // Dead elements do not keep a new life from beginning.
        await BeatAsync(heartbeat);
        Assert.Contains("expires", await ListAsync(lab), StringComparison.Ordinal);
    }

    [Fact]
    [Trait(Ring.Name, Ring.Kernels)]
    public async Task ASetThatIsNotThereYetIsNoFaultAndFailsNothingElse()
    {
        await using var lab = await ListenDeviceTests.BareLabAsync();
        (await lab.RunAsync("node", "nft", "add table ip6 edgemesh; add set ip6 edgemesh alive { type inet_proto; flags timeout; }")).Succeeded();
        using var heartbeat = Start(lab);
        Assert.False(heartbeat.HasBeaten);

        heartbeat.Beat();
        await Eventually.HoldsAsync(() => heartbeat is { Written: 1, LastFailure: not null }, TimeSpan.FromSeconds(5));
        await Eventually.HoldsAsync(() => heartbeat.HasBeaten, TimeSpan.FromSeconds(5));
        heartbeat.Beat();
        await Eventually.HoldsAsync(() => heartbeat is { Written: 2, Failed: 2 }, TimeSpan.FromSeconds(5));

        (await lab.RunAsync("node", "nft", "add table ip edgemesh; add set ip edgemesh alive { type inet_proto; flags timeout; }")).Succeeded();
        await BeatAsync(heartbeat);
        await Eventually.HoldsAsync(() => heartbeat.LastFailure is null, TimeSpan.FromSeconds(5));
    }

    [Fact]
    public async Task OneRenewalTakesMicroseconds()
    {
        await using var lab = await ListenDeviceTests.BareLabAsync();
        await MakeSetsAsync(lab);
        using var elements = lab.Node.Run(() => new NftAliveElements(_sets[0], [6, 17, 132], TimeSpan.FromSeconds(4)));
        elements.Renew();
        var watch = Stopwatch.StartNew();
        for (var i = 0; i < 500; i++)
            Assert.Equal(0, elements.Renew());
        var each = watch.Elapsed / 500;
        TestContext.Current.TestOutputHelper?.WriteLine($"heartbeat transaction: {each.TotalMicroseconds:0} us");
        Assert.InRange(each.TotalMilliseconds, 0, 20);
    }

    internal static NftHeartbeat Start(NamespaceLab lab) =>
        lab.Node.Run(() => new NftHeartbeat(_sets, [6, 17, 132], TimeSpan.FromSeconds(4)));

    internal static async Task MakeSetsAsync(NamespaceLab lab)
    {
        foreach (var family in (string[])["ip", "ip6"])
            (await lab.RunAsync("node", "nft", $"add table {family} edgemesh; add set {family} edgemesh alive {{ type inet_proto; flags timeout; }}")).Succeeded();
    }

    private static async Task BeatAsync(NftHeartbeat heartbeat)
    {
        var before = heartbeat.Written;
        heartbeat.Beat();
        await Eventually.HoldsAsync(() => heartbeat.Written >= before + 2, TimeSpan.FromSeconds(5));
    }

    private static async Task<string> ListAsync(NamespaceLab lab) =>
        (await lab.RunAsync("node", "nft", "list", "set", "ip", "edgemesh", "alive")).Succeeded().Output;
}
