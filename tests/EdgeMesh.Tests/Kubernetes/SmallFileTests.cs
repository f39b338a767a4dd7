using System.Diagnostics;
using EdgeMesh.Agent.Options;
using EdgeMesh.Kubernetes;
using EdgeMesh.Kubernetes.Access;
using EdgeMesh.Kubernetes.Manifests;
using EdgeMesh.Tests.Options;
using EdgeMesh.Tunnel.Identity;
using Xunit;

namespace EdgeMesh.Tests.Kubernetes;

public sealed class SmallFileTests : IDisposable
{
    private static readonly TimeSpan Deadline = TimeSpan.FromSeconds(20);

    private readonly TemporaryFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    [Fact]
    public async Task APipeInPlaceOfAFileHoldsNobodyUp()
    {
        var pipe = Path.Combine(_folder.Path, "a.yaml");
        using (var made = Process.Start("mkfifo", [pipe]))
            await made.WaitForExitAsync().WaitAsync(Deadline);
        var link = Path.Combine(_folder.Path, "link");
        File.CreateSymbolicLink(link, pipe);
        await OffThread(() =>
        {
            foreach (var path in (string[])[pipe, link])
            {
                Assert.Empty(SmallFile.Read(path, 1000));
                Assert.Empty(ConfigFile.TryReadBytes(path, new FindingList(path))!);
                Assert.Throws<PresharedKeyException>(() => PresharedKeys.Read(path));
                Assert.Throws<ApiAccessException>(() => KubeConfig.Load(path));
            }

            new ManifestFolder(_folder.Path, TimeProvider.System).Scan(new HashSet<string>());
        });
    }

    [Fact]
    public Task ADeviceWithoutEndIsNotReadToItsEnd() => OffThread(() => Assert.Empty(SmallFile.Read("/dev/zero", 1000)));

    [Fact]
    public void NeitherAFolderNorACircleOfLinksIsAFile()
    {
        var link = Path.Combine(_folder.Path, "round");
        File.CreateSymbolicLink(link, link);
        Assert.ThrowsAny<IOException>(() => SmallFile.Read(link, 1000));
        Assert.ThrowsAny<IOException>(() => SmallFile.Read(_folder.Path, 1000));
        Assert.ThrowsAny<FileNotFoundException>(() => SmallFile.Read(Path.Combine(_folder.Path, "none"), 1000));
    }

    [Theory]
    [InlineData(0)]
    [InlineData(4096)]
    [InlineData(100_000)]
    public void AFileIsReadWholeOrOneByteMoreThanItMayHave(int length)
    {
        var file = Path.Combine(_folder.Path, "file");
        File.WriteAllBytes(file, new byte[length]);
        Assert.Equal(length, SmallFile.Read(file, length).Length);
        if (length > 10)
            Assert.Equal(length - 9, SmallFile.Read(file, length - 10).Length);
    }

    private static Task OffThread(Action action) => Task.Run(action).WaitAsync(Deadline);
}
