using EdgeMesh.Linux;
using Xunit;

namespace EdgeMesh.Tests.Linux;

public sealed class XtRecentHeartbeatTests
{
    [Fact]
    public void AListThatNoRuleNamesYetIsNoFault()
        => new XtRecentHeartbeat("/proc/net/edgemesh-no-such-list/alive", "/proc/net/edgemesh-no-such-list/lease").Beat();

    [Fact]
    public void ARefusalIsAFaultThatNamesTheFile()
    {
        var error = Assert.ThrowsAny<IOException>(() => new XtRecentHeartbeat("/dev/full").Beat());
        Assert.NotEmpty(error.Message);
    }

    [Fact]
    public void BothFamiliesOfBothListsAreRefreshed()
    {
        var lease = Path.GetTempFileName();
        var path = Path.GetTempFileName();
        try
        {
            new XtRecentHeartbeat(path, lease).Beat();
            // Each write begins at the start of a file that remembers; the kernel's takes one command per write.
            Assert.Equal("+::\n.0.0\n", File.ReadAllText(path));
            Assert.Equal("+::\n.0.0\n", File.ReadAllText(lease));
        }
        finally
        {
            File.Delete(path);
            File.Delete(lease);
        }
    }
}
