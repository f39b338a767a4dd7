using EdgeMesh.Testing.Lab;
using Xunit;

namespace EdgeMesh.HostTests.Lifecycle;

/// <summary>Probes, metrics and status, on an address that every process can reach and on a socket that only the agent's user can.</summary>
public sealed class AdminTests
{
    private static readonly TimeSpan Deadline = TimeSpan.FromSeconds(30);

    private static string Folder([System.Runtime.CompilerServices.CallerFilePath] string file = "") => Path.GetDirectoryName(file)!;

    [Fact]
    public async Task AProcessWithoutRightsThatHoldsEveryConnectionKeepsNoProbeFromItsAnswer()
    {
        await using var node = await HybridNode.StartAsync(NodeSetup.Userspace, HybridNode.Web);
        using var stranger = await Stranger.StartAsync(node.Lab, Path.Combine(Folder(), "admin_attack.py"), "holding");
        foreach (var probe in (string[])["livez", "readyz", "healthz", "livez", "readyz", "healthz", "livez", "readyz", "healthz"])
        {
            // kubelet's probes are those of curl: a connection of their own, and a deadline.
            var answer = await node.Lab.RunAsync("node", "curl", "-s", "-m", "10", "-o", "/dev/null", "-w", "%{http_code}", $"http://127.0.0.1:9999/{probe}");
            Assert.Equal("200", answer.Output);
            Assert.Equal(0, (await node.Lab.AgentCommandAsync("probe", probe)).ExitCode);
        }

        // The rules are looked at by programs; the flood starts none.
        await stranger.EndAsync();
        Assert.Matches("answers [1-9]", stranger.Process.Log);
        await node.UntilAnsweredAsync("client", HybridNode.WebAddress, HybridNode.ByAgent);
    }

    [Fact]
    public async Task OnASocketOnlyTheAgentsUserIsAnswered()
    {
        await using var lab = await NamespaceLab.CreateAsync(new LabOptions { KubeProxy = KubeProxyRules.IptablesNft });
        lab.Manifests.Write(HybridNode.Web);
        var folder = Path.Combine(lab.Folder, "admin");
        var socket = Path.Combine(folder, "admin.sock");
        var options = new AgentOptions { Config = new AgentConfig { CommonConfig = [$"adminSocket: {socket}"] }, WaitUntilReady = false };

        var agent = await lab.StartAgentAsync(options);
        await ReadyAsync(lab);
        Assert.Equal(UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute, File.GetUnixFileMode(folder));
        Assert.Equal(UnixFileMode.UserRead | UnixFileMode.UserWrite, File.GetUnixFileMode(socket));
        var status = (await lab.AgentCommandAsync("status", "--config-file", lab.ConfigFile)).Succeeded().Output;
        Assert.Contains("demo/web", status, StringComparison.Ordinal);
        Assert.Contains("demo/web", (await lab.AgentCommandAsync("status", "--admin-address", socket, "-o", "json")).Succeeded().Output, StringComparison.Ordinal);
        Assert.Contains("edgemesh_", (await lab.RunAsync("node", "curl", "-s", "--unix-socket", socket, "http://localhost/metrics")).Succeeded().Output, StringComparison.Ordinal);
        Assert.NotEqual(0, (await lab.RunAsync("node", "curl", "-s", "-m", "5", "http://127.0.0.1:9999/livez")).ExitCode);
        // The folder of the lab is for all to enter, so that it is the socket's own that keeps others out.
        string[] nobody = [.. Stranger.Nobody.Split(' '), "curl", "-s", "--unix-socket", socket, "http://localhost/livez"];
        Assert.NotEqual(0, (await lab.RunAsync("node", nobody[0], nobody[1..])).ExitCode);
        File.SetUnixFileMode(folder, (UnixFileMode)0b111_101_101);
        Assert.NotEqual(0, (await lab.RunAsync("node", nobody[0], nobody[1..])).ExitCode);

        // It goes from agent to agent, and a killed one's is no hindrance.
        var second = await lab.StartAgentAsync(options with { Arguments = ["--take-over"] });
        await Eventually.SeesAsync(() => second.Log, log => log.Contains("Took over from", StringComparison.Ordinal), Deadline, "the second took over");
        Assert.Equal(0, await agent.Process.WaitForExitAsync(Deadline));
        await ReadyAsync(lab);
        await second.KillAsync();
        Assert.Equal(1, (await lab.AgentCommandAsync("probe", "livez", "--config-file", lab.ConfigFile)).ExitCode);
        var third = await lab.StartAgentAsync(options);
        await ReadyAsync(lab);
        Assert.Equal(0, await third.StopAsync());
        Assert.False(File.Exists(socket));
    }

    [Fact]
    public async Task NamesThatHoldCommandsForTerminalsAreShownAndNotSent()
    {
        await using var node = await HybridNode.StartAsync(NodeSetup.Userspace, HybridNode.Web);
        await File.WriteAllTextAsync(
            Path.Combine(node.Lab.Manifests.Path, "evil.yaml"),
            """
            apiVersion: v1
            kind: Service
            metadata: {name: "ev\e[2Jil", namespace: demo, labels: {"l\e]0;x\a": y}}
            spec: {clusterIP: 10.96.10.77, ports: [{name: "ht\e[31m\u202Etp", port: 80}]}
            ---
            apiVersion: v1
            kind: "Se\e[2Jcret"
            metadata: {name: x}
            ---
            apiVersion: v1
            kind: Service
            metadata: {name: np, namespace: "de\e[2Jmo"}
            spec: {clusterIP: "10.96.10.78\e[2J", ports: [{port: 80}]}
            """,
            TestContext.Current.CancellationToken);
        // Seen by the name of the file alone, or taken: either way it was read.
        await Eventually.SeesAsync(() => node.Agent.Log, log => log.Contains("\\x1b", StringComparison.Ordinal), Deadline, "the log shows what would be obeyed");

        string[] shown =
        [
            node.Agent.Log,
            (await node.Lab.AgentCommandAsync("status")).Succeeded().Output,
            (await node.Lab.AgentCommandAsync("status", "-o", "json")).Succeeded().Output,
            (await node.Agent.GetAsync("/status")).Body,
            (await node.Agent.GetAsync("/metrics")).Body,
        ];
        foreach (var text in shown)
            Assert.DoesNotContain(text.Where(c => c != '\n'), c => char.IsControl(c) || c == '\u202e');
        await node.UntilAnsweredAsync("client", HybridNode.WebAddress, HybridNode.ByAgent);
    }

    private static Task<CommandResult> ReadyAsync(NamespaceLab lab) => Eventually.SeesAsync(
        () => lab.AgentCommandAsync("probe", "readyz", "--config-file", lab.ConfigFile), probe => probe.ExitCode == 0, Deadline, "the probe says that the agent is ready");
}
