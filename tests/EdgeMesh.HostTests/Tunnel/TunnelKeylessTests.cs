using System.Diagnostics;
using System.Net;
using EdgeMesh.LibP2P.Addresses;
using EdgeMesh.LibP2P.Connections;
using EdgeMesh.LibP2P.Noise;
using EdgeMesh.Testing.Lab;
using EdgeMesh.Testing.Lab.Mesh;
using EdgeMesh.Tunnel.Identity;
using Microsoft.Extensions.Logging.Abstractions;
using Xunit;

namespace EdgeMesh.HostTests.Tunnel;

[Collection(Alone.Name)]
public sealed class TunnelKeylessTests(ITestOutputHelper output)
{
    private const int Addresses = 64;
    private const long MostBytes = 10 << 20;
    // Less than twenty were seen, most of it accept(2) and close(2); the rest is for a machine that is busy with other things.
    private const double MostMicroseconds = 60;
    private static readonly TimeSpan ToGetIn = TimeSpan.FromSeconds(1);
    private static readonly TimeSpan EachAttack = LongForm.IsAsked ? TimeSpan.FromMinutes(1) : TimeSpan.FromMilliseconds(900);

    [Fact]
    public async Task WhoeverHasNotProvedTheKeyTakesNoMemoryNoPlaceAndLittleTime()
    {
        await using var lab = await MeshLab.CreateAsync();
        Services.PublishAll(lab);
        foreach (var node in new[] { lab.Cloud, lab.Edge1 })
        {
            node.Configure(lab.Cloud);
            await node.StartAsync();
        }

        await lab.IpAsync("wan", [.. Enumerable.Range(0, Addresses).Select(i => $"addr add {Address(i)}/24 dev wan0")]);
        await Services.UntilAnsweredAsync(lab.Edge1, Services.OnCloud, lab.Cloud, TimeSpan.FromSeconds(20));
        using var attackers = new KeylessAttackers(lab["wan"].Name, IPEndPoint.Parse($"{lab.Cloud.Address}:20006"));
        // What the first of each kind compiles, and the buffers that sessions of nodes use, are no attacker's doing.
        foreach (var kind in Enum.GetValues<KeylessAttack>())
            await attackers.RunAsync(kind, [Address(0)], TimeSpan.FromMilliseconds(200));
        for (var i = 0; i < 8; i++)
            await GetInAsync(lab, 1_000 + i);
        await AskAsync(lab, 400);

        var agent = lab.Cloud.Agent;
        var before = agent.Facts;
        var (attempts, spent) = (0L, TimeSpan.Zero);
        foreach (var count in new[] { 1, 8, Addresses })
        {
            foreach (var kind in Enum.GetValues<KeylessAttack>())
            {
                var facts = agent.Facts;
                var attack = attackers.RunAsync(kind, [.. Enumerable.Range(0, count).Select(Address)], EachAttack);
                var entry = await GetInAsync(lab, count);
                var asked = await AskAsync(lab, 10);
                var tried = await attack;
                var held = agent.Facts;
                var cost = held.ProcessorTime - facts.ProcessorTime;
                output.WriteLine($"{kind} from {count}: {tried} attempts in {EachAttack.TotalSeconds} s, {cost.TotalMilliseconds:F0} ms of processor time ({cost.TotalMicroseconds / Math.Max(1, tried):F1} µs each); a node was in after {entry.TotalMilliseconds:F0} ms, requests of others took {asked.TotalMilliseconds:F1} ms; {(held.ResidentBytes - before.ResidentBytes) / 1048576.0:F1} MB more than before");
                Assert.True(entry < ToGetIn, $"{kind} from {count}: a node with the key was in after {entry}");
                Assert.True(held.ResidentBytes - before.ResidentBytes <= MostBytes, $"{kind} from {count}: {held}; before: {before}");
                if (kind != KeylessAttack.Hold)
                    (attempts, spent) = (attempts + tried, spent + cost);
            }
        }

        output.WriteLine($"{attempts} attempts, {spent.TotalMicroseconds / attempts:F1} µs each; before: {before}; after: {agent.Facts}");
        Assert.InRange(spent.TotalMicroseconds / attempts, 0, MostMicroseconds);
        Assert.True(await agent.MetricAsync("edgemesh_tunnel_admission_refused_total") > 0);
        Assert.Equal("direct", await lab.Cloud.SessionToAsync(lab.Edge1));
    }

    private static string Address(int index) => $"198.51.100.{100 + index}";

    /// <summary>The mean time of requests of another node, over its session; each must succeed.</summary>
    private static async Task<TimeSpan> AskAsync(MeshLab lab, int count)
    {
        var watch = Stopwatch.StartNew();
        for (var i = 0; i < count; i++)
            Assert.Equal(lab.Cloud.Name, (await lab.Edge1.AskAsync(Services.OnCloud)).Pod);
        return watch.Elapsed / count;
    }

    /// <summary>How long a node with the key takes to have a session, from an address of the attackers.</summary>
    private static async Task<TimeSpan> GetInAsync(MeshLab lab, int number)
    {
        var keys = PresharedKeys.Parse(await File.ReadAllTextAsync(lab.Cloud.PskFile), "the lab's key");
        using var identity = keys.DeriveOwn($"newcomer-{number}");
        await using var host = new PeerHost(
            new PeerHostOptions { Identity = identity, Security = [NoiseSession.Protocol], Admission = keys.DeriveAdmission(identity.PeerId) }, NullLogger.Instance);
        var address = Multiaddr.Parse($"/ip4/{lab.Cloud.Address}/tcp/20006/p2p/{keys.PeersNamed(lab.Cloud.Name)[0]}");
        var watch = Stopwatch.StartNew();
        // The socket is made before the first wait, and so in this namespace.
        _ = await lab["wan"].Run(() => host.DialAsync(address, CancellationToken.None));
        return watch.Elapsed;
    }
}
