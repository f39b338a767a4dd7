using EdgeMesh.Agent.Hosting;
using Xunit;

namespace EdgeMesh.Tests.Hosting;

public sealed class OwnSendersTests
{
    [Fact]
    public void OnlyTheLastProcessesAndTheSocketThatStaysOpenAreOurs()
    {
        var own = new OwnSenders();
        own.Keep(0xF000_0001);
        for (var process = 100; process < 200; process++)
            own.Add(process);

        Assert.True(own.Contains(0xF000_0001));
        Assert.True(own.Contains(199));
        Assert.True(own.Contains(168));
        Assert.False(own.Contains(167));
        Assert.False(own.Contains(0));
    }
}
