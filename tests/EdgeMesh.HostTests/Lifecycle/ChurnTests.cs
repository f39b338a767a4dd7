using EdgeMesh.Testing.Lab;
using Xunit;

namespace EdgeMesh.HostTests.Lifecycle;

/// <summary>An hour of a busy cluster in two minutes, less of it in the short form: nothing is lost on the way, and nothing is left over.</summary>
public sealed class ChurnTests(ITestOutputHelper output)
{
    private static readonly TimeSpan _period = TimeSpan.FromSeconds(LongForm.IsAsked ? 120 : 40);

    [Fact]
    public async Task ChurnLeaksNoDescriptorThreadRuleOrConntrackEntry()
    {
        var services = Churn.Services();
        await using var node = await HybridNode.StartAsync(NodeSetup.Userspace, NodeSetup.Userspace.Config, [HybridNode.Web, HybridNode.Dns, .. services]);
        var manifests = node.Lab.Manifests;
        var churn = new Churn(node, services, new ChurnSource
        {
            Config = NodeSetup.Userspace.Config,
            Write = manifests.Write,
            Remove = manifests.Remove,
            DisturbAsync = random =>
            {
                manifests.WriteText("broken.yaml", "kind: Service\nspec: [" + new string('{', random.Next(100)));
                return Task.CompletedTask;
            },
            RestoreAsync = () =>
            {
                File.Delete(Path.Combine(manifests.Path, "broken.yaml"));
                return Task.CompletedTask;
            },
        });

        output.WriteLine(await churn.LeavesNothingAsync(_period));
    }
}
