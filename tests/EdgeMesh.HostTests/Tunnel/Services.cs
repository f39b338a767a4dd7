using EdgeMesh.Testing.Lab;
using EdgeMesh.Testing.Lab.Mesh;

namespace EdgeMesh.HostTests.Tunnel;

/// <summary>Services of the lab: one per node and protocol, named after the node.</summary>
internal static class Services
{
    public const string OnCloud = "10.96.0.11:8080";
    public const string OnEdge1 = "10.96.0.12:8080";
    public const string OnEdge2 = "10.96.0.13:8080";
    public const string UdpOnCloud = "10.96.0.11:5353";
    public const string UdpOnEdge2 = "10.96.0.13:5353";

    public static void PublishAll(MeshLab lab)
    {
        foreach (var (node, last) in new[] { (lab.Cloud, 11), (lab.Edge1, 12), (lab.Edge2, 13) })
        {
            lab.Publish($"tcp-{node.Name}", $"10.96.0.{last}", 8080, "TCP", node);
            lab.Publish($"udp-{node.Name}", $"10.96.0.{last}", 5353, "UDP", node);
        }
    }

    /// <summary>A lab with agents that have reached each other, for a test that breaks something.</summary>
    /// <param name="known">The relays in the files of the edge nodes; null: all.</param>
    public static async Task<MeshLab> StartLabAsync(Func<MeshLab, MeshLabNode[]> relays, Func<MeshLab, MeshLabNode[]>? known = null)
    {
        var lab = await MeshLab.CreateAsync();
        try
        {
            PublishAll(lab);
            await lab.StartAgentsAsync(relays(lab), (known ?? relays)(lab));
            await UntilEverySessionStandsAsync(lab);
            return lab;
        }
        catch
        {
            await lab.DisposeAsync();
            throw;
        }
    }

    public static async Task UntilEverySessionStandsAsync(MeshLab lab, TimeSpan? deadline = null)
    {
        foreach (var node in new[] { lab.Cloud, lab.Edge1, lab.Edge2 })
        {
            foreach (var (address, other) in new[] { (OnCloud, lab.Cloud), (OnEdge1, lab.Edge1), (OnEdge2, lab.Edge2) })
            {
                if (node != other)
                    await UntilAnsweredAsync(node, address, other, deadline ?? TimeSpan.FromSeconds(20));
            }
        }
    }

    public static Task<Answer> UntilAnsweredAsync(MeshLabNode from, string target, MeshLabNode by, TimeSpan deadline) => Eventually.SeesAsync(
        () => from.AskAsync(target, TimeSpan.FromSeconds(3)), answer => answer.Pod == by.Name, deadline, $"{from.Name} gets an answer of {by.Name} at {target}");
}
