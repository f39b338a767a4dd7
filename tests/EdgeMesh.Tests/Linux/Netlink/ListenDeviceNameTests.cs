using EdgeMesh.Linux.Netlink;
using Xunit;

namespace EdgeMesh.Tests.Linux.Netlink;

public sealed class ListenDeviceNameTests
{
    [Theory]
    [InlineData("a name")]
    [InlineData("sixteen-bytes-16")]
    [InlineData("a/b")]
    [InlineData("a:b")]
    [InlineData("..")]
    public void AnImpossibleDeviceNameIsRefusedBeforeTheKernelIsAsked(string name)
    {
        var refused = Assert.Throws<ArgumentException>(() => ListenDevice.Ensure(name, []));
        Assert.Contains(name, refused.Message, StringComparison.Ordinal);
    }
}
