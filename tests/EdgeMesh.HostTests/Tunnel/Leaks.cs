using EdgeMesh.Testing.Lab;
using EdgeMesh.Testing.Lab.Mesh;
using Xunit;

namespace EdgeMesh.HostTests.Tunnel;

/// <summary>What agents have open and hold before something happens to them, and that it is the same when it is over.</summary>
internal sealed class Leaks
{
    /// <summary>Sessions, dials and questions to the agent come and go.</summary>
    private const int DescriptorsThatComeAndGo = 24;

    /// <summary>Buffers that stay in their pools, and code that was translated meanwhile.</summary>
    private const long BytesThatStay = 48 << 20;

    private static readonly TimeSpan Deadline = TimeSpan.FromSeconds(20);

    private readonly List<(MeshLabNode Node, ProcessFacts Facts)> _before;

    private Leaks(IEnumerable<MeshLabNode> nodes) => _before = [.. nodes.Select(node => (node, node.Agent.Facts))];

    public static Leaks Watch(params ReadOnlySpan<MeshLabNode> nodes) => new(nodes.ToArray());

    public async Task AssertNoneAsync(ITestOutputHelper output)
    {
        foreach (var (node, before) in _before)
        {
            await Eventually.SeesAsync(() => node.Agent.MetricAsync("edgemesh_tunnel_streams"), open => open == 0, Deadline, $"no stream is left at {node.Name}");
            var after = await Eventually.SeesAsync(
                () => node.Agent.Facts, now => now.Descriptors <= before.Descriptors + DescriptorsThatComeAndGo, Deadline, $"no descriptor is left at {node.Name}");
            output.WriteLine($"{node.Name}: {after.Descriptors - before.Descriptors} more descriptors, {(after.ResidentBytes - before.ResidentBytes) / 1048576.0:F1} MB more; {after}");
            Assert.InRange(after.ResidentBytes - before.ResidentBytes, long.MinValue, BytesThatStay);
        }
    }
}
