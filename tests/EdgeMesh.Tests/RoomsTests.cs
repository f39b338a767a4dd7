using Xunit;

namespace EdgeMesh.Tests;

public sealed class RoomsTests
{
    [Fact]
    public void LeavesSeeNeitherEachOtherNorTheTrunk()
    {
        string[] leaves = ["EdgeMesh.Linux", "EdgeMesh.Netfilter", "EdgeMesh.Kubernetes", "EdgeMesh.LibP2P", "EdgeMesh.Dns"];
        foreach (var leaf in leaves)
        {
            var references = System.Reflection.Assembly.Load(leaf).GetReferencedAssemblies();
            Assert.DoesNotContain(references, r => r.Name!.StartsWith("EdgeMesh", StringComparison.Ordinal));
        }
    }
}
