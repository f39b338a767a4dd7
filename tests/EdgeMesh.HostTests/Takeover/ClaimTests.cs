using EdgeMesh.Testing.Lab;
using Xunit;

namespace EdgeMesh.HostTests.Takeover;

/// <summary>Processes without CAP_NET_ADMIN on the node try all the time to hold, take, freeze or end the agent, through a
/// start, a takeover, a kill, another start, a stop and a cleanup.</summary>
public sealed class ClaimTests
{
    private const string Attack = "claim_attack.py";

    /// <summary>The agent's own, and those of 64 strangers that wait; each of these sends 250.</summary>
    private const int MostDescriptors = 250;

    private static string Folder([System.Runtime.CompilerServices.CallerFilePath] string file = "") => Path.GetDirectoryName(file)!;

    [Theory]
    [InlineData("inside", "setpriv --reuid 65534 --regid 65534 --clear-groups")]
    [InlineData("inside", "setpriv --inh-caps=-all --bounding-set=-all")]
    [InlineData("outside", "setpriv --reuid 65534 --regid 65534 --clear-groups")]
    public async Task WithoutTheRightToAdministerTheNetworkNothingOfTheAgentCanBeHad(string place, string rights)
    {
        await using var lab = await NamespaceLab.CreateAsync(new LabOptions { KubeProxy = KubeProxyRules.IptablesNft });
        lab.Manifests.Write(HybridNode.Web);
        var options = Takeovers.Options("iptables", "userspace");
        // Readable for all, as the attacker is not root.
        var script = Path.Combine(Path.GetTempPath(), $"edgemesh-{Guid.NewGuid():N}.py");
        File.Copy(Path.Combine(Folder(), Attack), script);
        var stop = script + ".stop";
        try
        {
            string[] words = [.. rights.Split(' '), "/usr/bin/python3", script, place, stop];
            // Who is outside of the node's namespace knows the claim by hearsay: there has to be one.
            var earlier = place == "outside" ? await lab.StartAgentAsync(options) : null;
            var attack = lab.Start("node", words[0], words[1..]);
            await Eventually.HoldsAsync(() => attack.Log.Contains("trying", StringComparison.Ordinal), TimeSpan.FromSeconds(10));
            var first = earlier ?? await lab.StartAgentAsync(options);
            var second = await lab.StartAgentAsync(options with { Arguments = ["--take-over"], WaitUntilReady = false });
            await Eventually.SeesAsync(() => second.Log, log => log.Contains("Took over from", StringComparison.Ordinal), Takeovers.Deadline, "the second took over");
            Assert.Contains($"process {first.Id}", second.Log, StringComparison.Ordinal);
            Assert.Equal(HybridNode.ByAgent, (await lab.AskAsync("client", HybridNode.WebAddress)).Port);

            await second.KillAsync();
            var third = await lab.StartAgentAsync(options);
            Assert.Equal(HybridNode.ByAgent, (await lab.AskAsync("client", HybridNode.WebAddress)).Port);
            Assert.Equal(1, (await lab.AgentCommandAsync("cleanup")).ExitCode);
            Assert.InRange(third.Facts.Descriptors, 0, MostDescriptors);
            Assert.Equal(0, await third.StopAsync());
            (await lab.AgentCommandAsync("cleanup")).Succeeded();

            await File.WriteAllTextAsync(stop, string.Empty, TestContext.Current.CancellationToken);
            Assert.Equal(0, await attack.WaitForExitAsync(TimeSpan.FromSeconds(10)));
            Assert.DoesNotContain("GOT", attack.Log, StringComparison.Ordinal);
            Assert.Matches("tried [1-9]", attack.Log);
        }
        finally
        {
            File.Delete(script);
            File.Delete(stop);
        }
    }
}
