using Xunit;

namespace EdgeMesh.HostTests;

/// <summary>Tests that measure time or fill the machine run while no other test does.</summary>
[CollectionDefinition(Name, DisableParallelization = true)]
public sealed class Alone
{
    public const string Name = "alone";
}
