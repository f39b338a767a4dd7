using EdgeMesh.Agent.Commands;
using EdgeMesh.Testing;
using EdgeMesh.Tests.Deploy.Chart;
using EdgeMesh.Tests.Options;
using Xunit;

namespace EdgeMesh.Tests.Deploy;

public sealed class CleanupManifestTests
{
    private static readonly Dictionary<string, object?> DaemonSet =
        Assert.Single(HelmChart.ObjectsIn(File.ReadAllText(Repository.PathOf("deploy/cleanup/cleanup.yaml"))));

    private static readonly Dictionary<string, object?> Agent =
        Assert.Single(Assert.Single(HelmChart.ObjectsIn(File.ReadAllText(Repository.PathOf("deploy/manifests/04-daemonset.yaml")))).At("spec", "template", "spec").Items("containers"));

    private static readonly Dictionary<string, object?> Container = Assert.Single(DaemonSet.At("spec", "template", "spec").Items("containers"));

    [Fact]
    public void ItHasTheAgentsImageAndRightsAndNoneOfItsLabels()
    {
        Assert.Equal(Agent.Text("image"), Container.Text("image"));
        // It listens nowhere.
        Assert.Equal(Agent.Texts("securityContext", "capabilities", "add").Except(["NET_BIND_SERVICE"]), Container.Texts("securityContext", "capabilities", "add"));
        Assert.Equal(Agent.Texts("securityContext", "capabilities", "drop"), Container.Texts("securityContext", "capabilities", "drop"));
        // The agents' DaemonSet would take pods with its labels for its own.
        Assert.Equal(["k8s-app"], ((Dictionary<string, object?>)DaemonSet.At("spec", "template", "metadata", "labels")!).Keys);
        Assert.NotEqual("kubeedge", DaemonSet.Text("spec", "template", "metadata", "labels", "k8s-app"));
    }

    /// <summary>Host tests show the other half: that it waits once all is removed.</summary>
    [Fact]
    public async Task APodThatCouldNotRemoveEverythingEndsAndIsStartedAgain()
    {
        var handlers = new CommandHandlers { Cleanup = (_, _) => Task.FromResult(1) };
        Assert.Equal(1, await AgentCommandLine.InvokeAsync(Container.Texts("args"), ConfigSample.Cloud, handlers, TextWriter.Null, TextWriter.Null));
    }
}
