using EdgeMesh.Testing.Lab;
using Xunit;

namespace EdgeMesh.HostTests;

/// <summary>The lab itself: a node with kube-proxy's rules behaves as one, before any agent is there.</summary>
public sealed class NamespaceLabTests
{
    [Theory]
    [InlineData(KubeProxyRules.IptablesNft)]
    [InlineData(KubeProxyRules.IptablesLegacy)]
    [InlineData(KubeProxyRules.Nftables)]
    public async Task RecordedRulesOfKubeProxySpreadAServiceOverItsThreeEndpoints(KubeProxyRules rules)
    {
        await using var lab = await NamespaceLab.CreateAsync(new LabOptions { KubeProxy = rules });

        var fromPod = await lab.AskTimesAsync("client", "10.96.10.1:80", 40);
        var fromHost = await lab.AskTimesAsync("node", "10.96.10.1:80", 40);

        Assert.Equal(["a", "b", "outside"], fromPod.Select(answer => answer.Pod).Distinct().Order());
        Assert.Equal(["a", "b", "outside"], fromHost.Select(answer => answer.Pod).Distinct().Order());
        Assert.All(fromPod, answer => Assert.Equal(LabAddresses.Client, answer.Client));
    }

    [Fact]
    public async Task WithoutKubeProxyAServiceAddressIsRefusedAtOnce()
    {
        await using var lab = await NamespaceLab.CreateAsync(new LabOptions { KubeProxy = KubeProxyRules.None });

        await Assert.ThrowsAnyAsync<System.Net.Sockets.SocketException>(() => lab.ConnectAsync("client", "10.96.10.1:80", TimeSpan.FromSeconds(2)));
    }

    [Fact]
    public async Task PodsAnswerOverIPv6AndUdpAndToCurl()
    {
        await using var lab = await NamespaceLab.CreateAsync();

        Assert.Equal(LabAddresses.Client6, (await lab.AskAsync("client", "[fd00:10:244::11]:8080")).Client);
        Assert.Equal(LabAddresses.Gateway6, (await lab.AskAsync("node", "[fd00:10:244::12]:8080")).Client);
        Assert.StartsWith("b 10.244.0.52:5353", System.Text.Encoding.ASCII.GetString(await lab.AskUdpAsync("client", "10.244.0.52:5353", "WHO"u8.ToArray())), StringComparison.Ordinal);
        var page = await lab.RunAsync("client", "curl", "-sS", "--max-time", "5", "http://10.244.0.11:8080/");
        Assert.StartsWith("a 10.244.0.11:8080 from 10.244.0.100", page.Succeeded().Output, StringComparison.Ordinal);
    }

    [Fact]
    public async Task NothingIsLeftWhenALabIsDisposedOf()
    {
        string name;
        string folder;
        int processId;
        await using (var lab = await NamespaceLab.CreateAsync())
        {
            name = lab.Name;
            folder = lab.Folder;
            processId = lab.Start("a", "socat", "TCP-LISTEN:9999,fork", "EXEC:cat").Id;
        }

        Assert.Empty(Directory.EnumerateFileSystemEntries("/run/netns", name + "*"));
        Assert.False(Directory.Exists(folder));
        Assert.False(Directory.Exists($"/proc/{processId}"));
    }
}
