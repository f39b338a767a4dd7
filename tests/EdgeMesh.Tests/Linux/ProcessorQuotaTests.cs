using EdgeMesh.Linux;
using Xunit;

namespace EdgeMesh.Tests.Linux;

public sealed class ProcessorQuotaTests : IDisposable
{
    private readonly DirectoryInfo _root = Directory.CreateTempSubdirectory("edgemesh-quota");

    [Fact]
    public void NoControlGroupsMeanNoLimit() => Assert.False(ProcessorQuota.IsLimited(_root.FullName));

    [Theory]
    [InlineData("max 100000", false)]
    [InlineData("20000 100000", true)]
    public void TheOwnGroupIsAsked(string most, bool limited)
    {
        Write("proc/self/cgroup", "0::/");
        Write("sys/fs/cgroup/cpu.max", most);
        Assert.Equal(limited, ProcessorQuota.IsLimited(_root.FullName));
    }

    [Fact]
    public void AGroupAboveLimitsToo()
    {
        Write("proc/self/cgroup", "0::/kubepods/pod1/agent");
        Write("sys/fs/cgroup/kubepods/pod1/agent/cpu.max", "max 100000");
        Write("sys/fs/cgroup/kubepods/pod1/cpu.max", "50000 100000");
        Assert.True(ProcessorQuota.IsLimited(_root.FullName));
    }

    [Theory]
    [InlineData("-1", false)]
    [InlineData("20000", true)]
    public void TheOldHierarchyIsAskedAsWell(string quota, bool limited)
    {
        Write("proc/self/cgroup", "5:memory:/a\n4:cpu,cpuacct:/a\n");
        Write("sys/fs/cgroup/cpu/a/cpu.cfs_quota_us", quota);
        Assert.Equal(limited, ProcessorQuota.IsLimited(_root.FullName));
    }

    public void Dispose() => _root.Delete(recursive: true);

    private void Write(string path, string text)
    {
        var file = new FileInfo(Path.Combine(_root.FullName, path));
        file.Directory!.Create();
        File.WriteAllText(file.FullName, text + "\n");
    }
}
