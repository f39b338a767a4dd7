using System.Reflection;
using Xunit;

namespace EdgeMesh.Tests;

public sealed class RoomsTests
{
    private static readonly string[] Leaves = ["EdgeMesh.Linux", "EdgeMesh.Netfilter", "EdgeMesh.Kubernetes", "EdgeMesh.LibP2P", "EdgeMesh.Dns"];

    [Fact]
    public void LeavesSeeNeitherEachOtherNorTheTrunk() =>
        Assert.All(Leaves, leaf => Assert.All(ProjectsSeenBy(leaf), seen => Assert.Equal("EdgeMesh.Net", seen)));

    [Fact]
    public void AddressesSeeNoProjectAtAll() => Assert.Empty(ProjectsSeenBy("EdgeMesh.Net"));

    private static IEnumerable<string> ProjectsSeenBy(string assembly) =>
        Assembly.Load(assembly).GetReferencedAssemblies().Select(r => r.Name!).Where(name => name.StartsWith("EdgeMesh", StringComparison.Ordinal));
}
