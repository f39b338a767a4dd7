using EdgeMesh.Testing.Lab;
using Xunit;

namespace EdgeMesh.HostTests.Small;

/// <summary>A program costs a weak machine more than anything else that a start does.</summary>
public sealed class StartProgramsTests(ITestOutputHelper output)
{
    [Theory]
    // With the first look of the guard, which may come before the answer or after.
    [InlineData("nftables", 5)]
    [InlineData("iptables", 19)]
    public async Task AStartRunsFewPrograms(string backend, int most)
    {
        await using var lab = await NamespaceLab.CreateAsync(new LabOptions { KubeProxy = backend == "nftables" ? KubeProxyRules.Nftables : KubeProxyRules.IptablesNft });
        lab.Manifests.Write(HybridNode.Web);
        var folder = Directory.CreateDirectory(Path.Combine(lab.Folder, "sbin")).FullName;
        var ran = Path.Combine(folder, "ran");
        await lab.StartAgentAsync(new AgentOptions
        {
            Config = new AgentConfig { Backend = backend },
            Launcher =
            [
                "sh", "-ec",
                "mkdir $0/real; for p in nft $(cd /usr/sbin; ls | grep -E '^ip6?tables(-nft|-legacy)?(-save|-restore)?$'); do cp -L /usr/sbin/$p $0/real/$p; "
                + "printf '#!/bin/sh\necho %s \"$*\" >>%s\nexec %s/real/%s \"$@\"\n' $p $0/ran /usr/sbin $p >$0/$p; chmod +x $0/$p; done; "
                + "mount --bind $0 /usr/sbin; [ -L /sbin ] || mount --bind $0 /sbin; exec \"$@\"",
                folder,
            ],
        });
        var programs = await File.ReadAllLinesAsync(ran, TestContext.Current.CancellationToken);
        output.WriteLine($"{programs.Length} programs until /readyz is 200 with {backend}:\n{string.Join('\n', programs)}");
        Assert.InRange(programs.Length, 1, most);
    }
}
