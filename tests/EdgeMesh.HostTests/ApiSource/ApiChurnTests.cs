using EdgeMesh.HostTests.Lifecycle;
using EdgeMesh.Testing.ApiServer;
using EdgeMesh.Testing.Lab;
using Xunit;

namespace EdgeMesh.HostTests.ApiSource;

/// <summary>An hour beside a busy API server in two minutes, less of it in the short form: it restarts, drops connections and forgets, the agent
/// restarts too, and clients notice none of it.</summary>
public sealed class ApiChurnTests(ITestOutputHelper output)
{
    private static readonly TimeSpan Period = TimeSpan.FromSeconds(LongForm.IsAsked ? 120 : 40);

    [Fact]
    public async Task ChurnWithRestartsOfAgentAndApiServerLeaksNothingAndFailsNobody()
    {
        var services = Churn.Services();
        await using var node = await ClusterNode.StartAsync(AccessKind.Token, [HybridNode.Web, HybridNode.Dns, .. services]);
        var restarts = 0;
        var churn = new Churn(node.Node, services, new ChurnSource
        {
            Config = node.Config,
            Patience = TimeSpan.FromSeconds(45),
            Write = service => node.Api.Put(service),
            Remove = service => node.Api.Remove(service),
            RestoreAsync = () =>
            {
                node.Api.Calm();
                return Task.CompletedTask;
            },
            DisturbAsync = async random =>
            {
                switch (random.Next(5))
                {
                    case 0:
                        await node.StopApiAsync();
                        await node.StartApiAsync();
                        break;
                    case 1:
                        node.Api.DropConnections();
                        break;
                    case 2:
                        node.Api.Store.ForgetHistory();
                        node.Api.DropConnections();
                        break;
                    case 3:
                        node.Api.Next("services", Misbehave.Status(500));
                        node.Api.Next("watch:endpointslices", Misbehave.Body("garbage"));
                        node.Api.DropConnections();
                        break;
                    default:
                        Assert.Equal(0, await node.Agent.StopAsync());
                        await node.RestartAgentAsync();
                        restarts++;
                        break;
                }
            },
        });

        output.WriteLine($"{await churn.LeavesNothingAsync(Period)}; {restarts} restarts of the agent");
        await node.UntilFaultAsync(null);
    }
}
