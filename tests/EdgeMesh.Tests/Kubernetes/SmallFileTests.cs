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
    public async Task AFileThatBecomesAPipeWhileItIsReadHoldsNobodyUp()
    {
        var (path, pipe, file) = (Path.Combine(_folder.Path, "a.yaml"), Path.Combine(_folder.Path, "pipe"), Path.Combine(_folder.Path, "file"));
        using (var made = Process.Start("mkfifo", [pipe]))
            await made.WaitForExitAsync().WaitAsync(Deadline);
        await File.WriteAllTextAsync(file, "kind: Service\n", TestContext.Current.CancellationToken);
        File.CreateSymbolicLink(path, file);
        using var enough = new CancellationTokenSource();
        // Between a look and the opening there is always a moment: links are swapped in one step, thousands of times.
        var swapping = Task.Run(() =>
        {
            for (var i = 0; !enough.IsCancellationRequested; i++)
            {
                File.CreateSymbolicLink(path + ".new", i % 2 == 0 ? pipe : file);
                File.Move(path + ".new", path, overwrite: true);
            }
        });
        await OffThread(() =>
        {
            for (var i = 0; i < 20_000; i++)
                Assert.True(SmallFile.Read(path, 1000).Length is 0 or 14);
        });
        await enough.CancelAsync();
        await swapping.WaitAsync(Deadline);
    }

    [Fact]
    public async Task AFileThatAnotherProgramHasALeaseOnHoldsNobodyUp()
    {
        var file = Path.Combine(_folder.Path, "leased");
        await File.WriteAllTextAsync(file, "x");
        using var holder = Process.Start(new ProcessStartInfo("python3", ["-c", "import fcntl, os, signal, sys\nsignal.signal(signal.SIGIO, signal.SIG_IGN)\nf = os.open(sys.argv[1], os.O_RDWR)\nfcntl.fcntl(f, fcntl.F_SETLEASE, fcntl.F_WRLCK)\nprint('held', flush=True)\nsys.stdin.read()", file])
        {
            UseShellExecute = false,
            RedirectStandardInput = true,
            RedirectStandardOutput = true,
        })!;
        Assert.Equal("held", await holder.StandardOutput.ReadLineAsync());
        await OffThread(() => Assert.Contains("held by another program", Assert.Throws<IOException>(() => SmallFile.Read(file, 1000)).Message, StringComparison.Ordinal));
        holder.StandardInput.Close();
        await holder.WaitForExitAsync().WaitAsync(Deadline);
        Assert.Single(SmallFile.Read(file, 1000));
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
