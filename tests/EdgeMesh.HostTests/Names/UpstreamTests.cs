using EdgeMesh.Testing.Lab;
using Xunit;

namespace EdgeMesh.HostTests.Names;

public sealed class UpstreamTests
{
    private static readonly TimeSpan Soon = TimeSpan.FromSeconds(30);

    /// <summary>It hangs, it comes back, another one is named in its place, and it dies.</summary>
    [Fact]
    public async Task AnUpstreamMayHangComeBackAndBeReplaced()
    {
        await using var node = await NamesNode.StartAsync();
        async Task<string> AskAsync(string name, string type = "A") => (await node.DigAsync("client", NamesNode.Server, name, type)).ToString();
        Assert.Equal("NOERROR\nA 192.0.2.10", await AskAsync("short.example"));
        Assert.Equal("NOERROR\nTXT \"outside\"", await AskAsync("who.example", "TXT"));

        node.Upstream.Pause();
        Assert.Equal("SERVFAIL", await AskAsync("none.example"));
        // What was known for a second, long ago.
        Assert.Equal("NOERROR\nA 192.0.2.10", await AskAsync("short.example"));
        Assert.Contains("NOERROR from stale: no upstream answers", (await node.NameAsync("short.example")).Output, StringComparison.Ordinal);
        Assert.Equal("NOERROR\nA 10.96.10.1", await AskAsync("web.demo.svc.cluster.local"));
        Assert.Contains("it does not answer now", (await node.StatusAsync()).Output, StringComparison.Ordinal);

        node.Upstream.Resume();
        await Eventually.SeesAsync(() => AskAsync("none.example"), answer => answer == "NXDOMAIN", Soon, "the upstream is asked again");

        await node.StartUnboundAsync("a", LabAddresses.PodA[0]);
        await File.WriteAllTextAsync(node.ResolvConf, $"nameserver {LabAddresses.PodA[0]}\n");
        await Eventually.SeesAsync(() => AskAsync("who.example", "TXT"), answer => answer == "NOERROR\nTXT \"a\"", Soon, "the new nameserver is asked");
        await File.WriteAllTextAsync(node.ResolvConf, $"nameserver {LabAddresses.Outside}\nnameserver {LabAddresses.PodA[0]}\n");
        await Eventually.SeesAsync(async () => (await node.StatusAsync()).Output, text => text.Contains($"asks {LabAddresses.Outside}:53", StringComparison.Ordinal), Soon, "both are known");
        await node.Upstream.StopAsync();
        Assert.Equal("NOERROR\nAAAA 2001:db8::9", await AskAsync("www.example", "AAAA"));
    }

    [Fact]
    public async Task DomainsOfASiteAreAskedOfItsOwnServer()
    {
        await using var node = await NamesNode.StartAsync([$"stubDomains: {{who.example: [{LabAddresses.PodA[0]}]}}"], async node => await node.StartUnboundAsync("a", LabAddresses.PodA[0]));
        Assert.Equal("NOERROR\nTXT \"a\"", (await node.DigAsync("client", NamesNode.Server, "who.example", "TXT")).ToString());
        Assert.Equal("NOERROR\nA 192.0.2.9", (await node.DigAsync("client", NamesNode.Server, "www.example", "A")).ToString());
    }

    /// <summary>The cluster's DNS is a service that the agent handles: its questions are carried to it as everybody's are.</summary>
    [Fact]
    public async Task TheClustersDnsIsFoundAskedAndKept()
    {
        await using var node = await NamesNode.StartAsync(["cacheDNS: {enable: true}"], async node =>
        {
            node.Lab.Manifests.Write(new ManifestService
            {
                Namespace = "kube-system",
                Name = "kube-dns",
                ClusterIPs = ["10.96.0.10"],
                Ports = [new ManifestPort("dns", 53, 53, "UDP"), new ManifestPort("dns-tcp", 53, 53)],
                Endpoints = [LabAddresses.PodA[0]],
            });
            await node.StartUnboundAsync("a", LabAddresses.PodA[0]);
        });
        await Eventually.SeesAsync(async () => (await node.DigAsync("client", NamesNode.Server, "who.example", "TXT")).ToString(), answer => answer == "NOERROR\nTXT \"a\"", Soon, "the cluster's DNS answers");
        Assert.Equal("NXDOMAIN", (await node.DigAsync("client", NamesNode.Server, "web.demo.svc.cluster.local", "A")).Code);
    }

    [Fact]
    public async Task ANameserverThatIsTheAgentItselfIsLeftOutAndNamed()
    {
        await using var node = await NamesNode.StartAsync(before: async node => await File.WriteAllTextAsync(node.ResolvConf, $"nameserver {NamesNode.Server}\n"));
        Assert.Equal("SERVFAIL", (await node.DigAsync("client", NamesNode.Server, "www.example", "A")).ToString());
        Assert.Contains("names only this agent itself", node.Agent.Log, StringComparison.Ordinal);
    }

    [Fact]
    public async Task ATakenPortIsNamedAndTakenWhenItIsFree()
    {
        LabProcess? other = null;
        await using var node = await NamesNode.StartAsync(before: async node =>
        {
            other = node.Lab.Start("node", "socat", "UDP4-RECVFROM:53,fork", "EXEC:true");
            await Eventually.SeesAsync(async () => (await node.Lab.RunAsync("node", "ss", "-lun")).Output, text => text.Contains(":53 ", StringComparison.Ordinal), Soon, "socat has the port");
        });
        Assert.Contains("names are not answered: ", (await node.StatusAsync()).Output.ReplaceLineEndings(" "), StringComparison.Ordinal);
        Assert.Contains("names are not answered", (await node.Agent.GetAsync("/healthz")).Body, StringComparison.Ordinal);
        Assert.Equal(200, (await node.Agent.GetAsync("/readyz")).Status);
        await other!.StopAsync();
        await Eventually.SeesAsync(async () => (await node.DigAsync("client", NamesNode.Server, "web.demo.svc.cluster.local", "A")).ToString(), answer => answer == "NOERROR\nA 10.96.10.1", Soon, "names are answered");
        await Eventually.SeesAsync(async () => (await node.StatusAsync()).Output, text => !text.Contains("names are not answered", StringComparison.Ordinal), Soon, "the notice is gone");
    }
}
