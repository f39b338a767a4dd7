using System.Text;
using EdgeMesh.Testing.Lab;
using Xunit;

namespace EdgeMesh.HostTests.Hosts;

/// <summary>Session affinity on hosts that bring a client to its endpoint in different ways: whoever asks, and by whichever way,
/// it is the same pod that answers.</summary>
public sealed class AffinityTests
{
    private static readonly string[] _clients = ["client", "a", "node", "lan"];

    private static readonly ManifestService _sticky = new()
    {
        Name = "sticky",
        ClusterIPs = ["10.96.30.1", "fd00:10:96:30::1"],
        Ports = [new ManifestPort("http", 80, HybridNode.ByAgent), new ManifestPort("dns", 53, 5354, "UDP")],
        Endpoints = ["10.244.0.11", "10.244.0.12", "fd00:10:244::11", "fd00:10:244::12"],
        ClientAffinitySeconds = 600,
    };

    public static TheoryData<string, KubeProxyRules> Hosts
    {
        get
        {
            var hosts = new TheoryData<string, KubeProxyRules>();
            foreach (var kind in (string[])["bridge", "bridge without hairpin mode", "bridge without netfilter", "does not forward"])
            {
                foreach (var backend in MatrixBackend.All)
                    hosts.Add(kind, backend.KubeProxy);
            }

            return hosts;
        }
    }

    [Theory]
    [MemberData(nameof(Hosts))]
    public async Task EveryClientKeepsItsPod(string kind, KubeProxyRules kubeProxy)
    {
        await using var lab = await NamespaceLab.CreateAsync(new LabOptions { KubeProxy = kubeProxy, Host = HostKind.All.Single(host => host.Name == kind).Host });
        lab.Manifests.Write(_sticky);
        await lab.StartAgentAsync();
        await Task.WhenAll(
            from client in _clients
            from address in (string[])["10.96.30.1", "[fd00:10:96:30::1]"]
            from keeps in (Task[])
            [
                KeepsItsPodAsync($"{client}, TCP, {address}", async () => await lab.AskAsync(client, $"{address}:80")),
                KeepsItsPodAsync($"{client}, UDP, {address}", async () => Answer.Parse(Encoding.ASCII.GetString(await lab.AskUdpAsync(client, $"{address}:53", "WHO"u8.ToArray())))),
            ]
            select keeps);
    }

    private static async Task KeepsItsPodAsync(string what, Func<Task<Answer>> ask)
    {
        const int enoughToTellFromTurns = 5;
        var pods = new HashSet<string>();
        for (var i = 0; i < enoughToTellFromTurns; i++)
        {
            var answer = await ask();
            Assert.True(answer.Port is HybridNode.ByAgent or 5354, $"{what}: {answer}");
            pods.Add(answer.Pod);
        }

        Assert.True(pods.Count == 1, $"{what}: {string.Join(" and ", pods)}");
    }
}
