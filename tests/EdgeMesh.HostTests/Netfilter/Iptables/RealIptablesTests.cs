using EdgeMesh.Netfilter;
using EdgeMesh.Netfilter.Iptables;
using EdgeMesh.Testing.Netfilter.Iptables;
using Xunit;

namespace EdgeMesh.HostTests.Netfilter.Iptables;

public sealed class RealIptablesNftTests : RealIptablesCases
{
    protected override IptablesVariant Variant => IptablesVariant.Nft;
}

public sealed class RealIptablesLegacyTests : RealIptablesCases
{
    protected override IptablesVariant Variant => IptablesVariant.Legacy;
}

/// <summary>The same cases as on the fake, each in a network namespace of its own.</summary>
public abstract class RealIptablesCases : IptablesCases, IAsyncLifetime
{
    private readonly NamespaceCommands commands = new();

    protected override ICommands Commands => commands;

    public async ValueTask InitializeAsync() => await commands.CreateAsync();

    public async ValueTask DisposeAsync()
    {
        await commands.DisposeAsync();
        GC.SuppressFinalize(this);
    }

    [Fact]
    public async Task KubeProxyInNftablesModeIsNoObstacle()
    {
        var loaded = await commands.RunAsync("nft", ["-f", "-"], [Fixture("nftables.nft").AsMemory()], TimeSpan.FromSeconds(30), Cancel);
        Assert.True(loaded.ExitCode == 0, loaded.Error);
        var portals = await NewAsync();
        await portals.SyncAsync(EveryKind(), Cancel);
        Assert.Empty((await portals.RepairAsync(Cancel)).Repairs);
        await portals.RemoveAsync(Cancel);
        var ruleset = await commands.RunAsync("nft", ["list", "tables"], input: null, TimeSpan.FromSeconds(30), Cancel);
        Assert.Contains("table ip kube-proxy", ruleset.Output);
    }

    [Fact]
    public async Task LookingMakesNoLegacyTable()
    {
        await new IptablesChoice(Commands, TimeProvider.System).DetectAsync(Cancel);
        Assert.Empty(await commands.ReadProcAsync("/proc/net/ip_tables_names", Cancel) ?? []);
    }
}
