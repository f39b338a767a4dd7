using System.Collections.Immutable;
using EdgeMesh.Net;
using EdgeMesh.Netfilter;
using EdgeMesh.Netfilter.Iptables;
using Xunit;

namespace EdgeMesh.Tests.Netfilter.Iptables;

public sealed class KubeProxyMarksTests
{
    private static readonly string Rules = "*mangle\n:KUBE-PROXY-CANARY - [0:0]\nCOMMIT\n*nat\n:KUBE-SERVICES - [0:0]\n-A PREROUTING -j KUBE-SERVICES\nCOMMIT\n";
    private static readonly string Hint = "*mangle\n:KUBE-KUBELET-CANARY - [0:0]\nCOMMIT\n";

    private readonly FakeIptables _kernel = new();

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    [Theory]
    [InlineData("*mangle\n:KUBE-PROXY-CANARY - [0:0]\nCOMMIT\n")]
    [InlineData("*nat\n:KUBE-SERVICES - [0:0]\nCOMMIT\n")]
    public async Task EitherMarkOfKubeProxyComesBeforeTheHintOfKubelet(string marks)
    {
        await LoadAsync("iptables-nft", Hint);
        await LoadAsync("iptables-legacy", marks);
        Assert.Equal(IptablesVariant.Legacy, (await DetectAsync()).Variant);
    }

    [Fact]
    public async Task WithoutKubeProxyTheHintOfKubeletDecides()
    {
        await LoadAsync("iptables-legacy", "*mangle\n:KUBE-IPTABLES-HINT - [0:0]\nCOMMIT\n");
        var found = await DetectAsync();
        Assert.Equal(IptablesVariant.Legacy, found.Variant);
        Assert.Contains("KUBE-IPTABLES-HINT", found.Reason);
    }

    [Fact]
    public async Task ALaterKubeProxyIsFollowed()
    {
        await LoadAsync("iptables-nft", Hint);
        var boot = await DetectAsync();
        Assert.Equal(IptablesVariant.Nft, boot.Variant);
        await LoadAsync("iptables-legacy", Rules);
        Assert.Equal(IptablesVariant.Legacy, (await DetectAsync(boot)).Variant);
    }

    [Fact]
    public async Task AKubeProxyThatChangedIsFollowedThoughItsOldChainsStand()
    {
        await LoadAsync("iptables-legacy", Rules);
        var before = await DetectAsync();
        await LoadAsync("iptables-nft", Rules);
        var after = await DetectAsync(before);
        Assert.Equal(IptablesVariant.Nft, after.Variant);
        // And stays there: nothing has come since.
        Assert.Equal(IptablesVariant.Nft, (await DetectAsync(after)).Variant);
    }

    [Fact]
    public async Task AKubeProxyThatGoesIsNotFollowed()
    {
        await LoadAsync("iptables-legacy", Rules);
        var before = await DetectAsync();
        await LoadAsync("iptables-legacy", "*nat\n-F\n-X\nCOMMIT\n*mangle\n-F\n-X\nCOMMIT\n");
        await LoadAsync("iptables-nft", Hint);
        Assert.Equal(IptablesVariant.Legacy, (await DetectAsync(before)).Variant);
    }

    [Fact]
    public void OneThatWritesTheRulesIsBeforeOneThatLeftItsCanary()
    {
        ImmutableArray<KubeProxyMarks> marks =
        [
            new(IptablesVariant.Nft, Canary: true, Services: false, "KUBE-KUBELET-CANARY", 30),
            new(IptablesVariant.Legacy, Canary: false, Services: true, null, 3),
        ];
        Assert.Equal(IptablesVariant.Legacy, KubeProxyMarks.Decide(marks)!.Variant);
    }

    [Theory]
    [InlineData(IptablesVariant.Nft)]
    [InlineData(IptablesVariant.Legacy)]
    public async Task ProgramsUnderTheirPlainNamesAreUsed(IptablesVariant variant)
    {
        var commands = await PlainNames.FindAsync(new OnlyPlain(_kernel, variant), Cancel);
        var choice = new IptablesChoice(commands, TimeProvider.System);
        Assert.True(choice.IsInstalled);
        var found = await choice.DetectAsync(Cancel);
        Assert.Equal(variant, found.Variant);
        var portals = await choice.CreateAsync(ChainPrefix.EdgeMesh, found.Variant, Cancel);
        Assert.Equal([IpFamily.IPv4, IpFamily.IPv6], portals.Families);
        Assert.Empty(portals.Lost);
    }

    [Fact]
    public async Task ALockIsNotTakenForAMissingExtension()
    {
        var held = new Held(_kernel) { Times = 1 };
        var choice = new IptablesChoice(held, TimeProvider.System);
        var fault = await Assert.ThrowsAsync<NetfilterException>(() => choice.CreateAsync(ChainPrefix.EdgeMesh, IptablesVariant.Legacy, Cancel));
        Assert.True(fault.IsTransient);
        var portals = await choice.CreateAsync(ChainPrefix.EdgeMesh, IptablesVariant.Legacy, Cancel);
        Assert.All(portals.Capabilities.Values, capable => Assert.Equal(IptablesCapabilities.Everything, capable));
    }

    [Theory]
    [InlineData("ip6tables-nft", IpFamily.IPv6)]
    [InlineData("iptables-nft", IpFamily.IPv4)]
    public async Task AFamilyThatFailsOnceIsLostWithItsReasonAndComesBack(string program, IpFamily family)
    {
        var failing = new Held(_kernel) { Times = 2, Program = program, Error = "iptables-restore: line 4 failed: Invalid argument.\n" };
        var choice = new IptablesChoice(failing, TimeProvider.System);
        var portals = await choice.CreateAsync(ChainPrefix.EdgeMesh, IptablesVariant.Nft, Cancel);
        Assert.DoesNotContain(family, portals.Families);
        Assert.Contains("Invalid argument", portals.Lost[family].Message);
        Assert.Equal([IpFamily.IPv4, IpFamily.IPv6], (await choice.CreateAsync(ChainPrefix.EdgeMesh, IptablesVariant.Nft, Cancel)).Families);
    }

    private Task<IptablesFinding> DetectAsync(IptablesFinding? standing = null) => new IptablesChoice(_kernel, TimeProvider.System).DetectAsync(Cancel, standing);

    private async Task LoadAsync(string program, string text) =>
        Assert.Equal(0, (await _kernel.RunAsync(program + "-restore", ["--noflush"], [text.AsMemory()], TimeSpan.FromSeconds(30), Cancel)).ExitCode);
}

/// <summary>A machine that has iptables under its plain names only.</summary>
internal sealed class OnlyPlain(FakeIptables inner, IptablesVariant variant) : ICommands
{
    public bool Exists(string command) => !command.Contains("-nft", StringComparison.Ordinal) && !command.Contains("-legacy", StringComparison.Ordinal);

    public Task<IReadOnlyList<string>?> ReadProcAsync(string path, CancellationToken cancellationToken) => inner.ReadProcAsync(path, cancellationToken);

    public Task<CommandResult> RunAsync(
        string command, IReadOnlyList<string> arguments, IEnumerable<ReadOnlyMemory<char>>? input, TimeSpan deadline, CancellationToken cancellationToken)
    {
        Assert.True(Exists(command), $"{command} is not installed");
        if (arguments is ["--version"])
            return Task.FromResult(new CommandResult(0, variant == IptablesVariant.Nft ? "iptables v1.8.9 (nf_tables)\n" : "iptables v1.6.1\n", ""));
        var words = command.Split('-', 2);
        var real = $"{words[0]}-{(variant == IptablesVariant.Nft ? "nft" : "legacy")}{(words.Length > 1 ? "-" + words[1] : "")}";
        return inner.RunAsync(real, arguments, input, deadline, cancellationToken);
    }
}

/// <summary>What is restored fails a few times, by default as it does when another program holds the lock.</summary>
internal sealed class Held(ICommands inner) : ICommands
{
    public int Times { get; set; }

    public string Program { get; init; } = "iptables-legacy";

    public string Error { get; init; } = "Another app is currently holding the xtables lock; still 0s 0us time ahead to have a chance to grab the lock...\n";

    public bool Exists(string command) => inner.Exists(command);

    public Task<IReadOnlyList<string>?> ReadProcAsync(string path, CancellationToken cancellationToken) => inner.ReadProcAsync(path, cancellationToken);

    public Task<CommandResult> RunAsync(
        string command, IReadOnlyList<string> arguments, IEnumerable<ReadOnlyMemory<char>>? input, TimeSpan deadline, CancellationToken cancellationToken) =>
        command == Program + "-restore" && Times-- > 0
            ? Task.FromResult(new CommandResult(4, "", Error))
            : inner.RunAsync(command, arguments, input, deadline, cancellationToken);
}
