using EdgeMesh.Testing.Lab;
using Xunit;

namespace EdgeMesh.HostTests.BadInput;

/// <summary>The packet filter's programs hang, as behind a lock that nobody gives back.</summary>
public sealed class HangingProgramTests
{
    /// <summary>Puts a program over iptables' that hangs while a file stands, in the agent's own mount namespace, and becomes the agent.</summary>
    private const string Launch = """
        set -e
        real=$(readlink -f /usr/sbin/iptables-nft)
        cp "$real" "$0/real"
        printf '#!/bin/bash\nwhile [ -e "%s/hang" ]; do sleep 0.2; done\nexec -a "${0##*/}" "%s/real" "$@"\n' "$0" "$0" >"$0/slow"
        chmod +x "$0/slow"
        mount --bind "$0/slow" "$real"
        exec "$@"
        """;

    [Fact]
    public async Task WhileTheProgramsHangTheAgentForwardsLivesAndCanBeStoppedAndTheirNameIsTold()
    {
        await using var lab = await NamespaceLab.CreateAsync(new LabOptions { KubeProxy = KubeProxyRules.IptablesNft });
        lab.Manifests.Write(HybridNode.Web);
        var folder = Directory.CreateDirectory(Path.Combine(lab.Folder, "programs")).FullName;
        var hang = Path.Combine(folder, "hang");
        var agent = await lab.StartAgentAsync(new AgentOptions { Config = new AgentConfig { Backend = "iptables", DataPath = "userspace" }, Launcher = ["bash", "-c", Launch, folder] });

        await File.WriteAllTextAsync(hang, "", TestContext.Current.CancellationToken);
        lab.Manifests.Write(HybridNode.Np);
        await Eventually.StaysAsync(async () => (await lab.AskAsync("client", HybridNode.WebAddress)).Port, port => port == HybridNode.ByAgent, TimeSpan.FromSeconds(6));
        Assert.Equal(200, (await agent.GetAsync("/livez")).Status);
        if (LongForm.IsAsked)
        {
            await Eventually.SeesAsync(() => agent.GetAsync("/healthz"), answer => answer.Status == 503 && answer.Body.Contains("iptables", StringComparison.Ordinal) && answer.Body.Contains("has been running for", StringComparison.Ordinal), TimeSpan.FromSeconds(60), "/healthz names the program");
            Assert.Equal(200, (await agent.GetAsync("/livez")).Status);
            File.Delete(hang);
            await Eventually.SeesAsync(() => agent.GetAsync("/healthz"), answer => answer.Status == 200, TimeSpan.FromSeconds(60), "/healthz is well again");
            await File.WriteAllTextAsync(hang, "", TestContext.Current.CancellationToken);
        }

        // It ends with the rules that need it standing; they lose force by themselves.
        Assert.Equal(0, await agent.StopAsync(TimeSpan.FromSeconds(60)));
        Assert.Contains("could not be withdrawn", agent.Log, StringComparison.Ordinal);
        File.Delete(hang);
        (await lab.AgentCommandAsync("cleanup")).Succeeded();
    }
}
