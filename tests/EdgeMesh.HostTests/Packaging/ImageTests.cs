using System.Globalization;
using EdgeMesh.Testing;
using EdgeMesh.Testing.Lab;
using Xunit;

namespace EdgeMesh.HostTests.Packaging;

/// <summary>The root folder of the image, put together as the Dockerfile does, and the agent in it: what a container would lack, it
/// lacks here. No engine and no registry is needed.</summary>
public sealed class ImageTests(ImageTests.ImageRoot image, ITestOutputHelper output) : IClassFixture<ImageTests.ImageRoot>
{
    private const long MaxMegabytes = 60;

    [Theory]
    [InlineData(KubeProxyRules.IptablesNft, Through.Kernel, "iptables-nft")]
    [InlineData(KubeProxyRules.IptablesLegacy, Through.Userspace, "iptables-legacy")]
    [InlineData(KubeProxyRules.Nftables, Through.Kernel, "nftables")]
    public async Task TheAgentWorksInTheRootOfItsImage(KubeProxyRules kubeProxy, Through through, string backend)
    {
        await using var lab = await NamespaceLab.CreateAsync(new LabOptions { KubeProxy = kubeProxy });
        var root = image.Path;
        var size = (await CommandResult.RunAsync("du", ["-sm", root])).Succeeded().Output.Split('\t')[0];
        output.WriteLine($"the image's root holds {size} MB");
        Assert.InRange(long.Parse(size, CultureInfo.InvariantCulture), 1, MaxMegabytes);

        lab.Manifests.Write(HybridNode.Web);
        var agent = await lab.StartAgentAsync(new AgentOptions { Config = NodeSetup.Beside(kubeProxy, through).Config, Launcher = Container(root, lab.Folder) });
        await Eventually.HoldsAsync(async () => (await lab.AskAsync("client", HybridNode.WebAddress)).Port == HybridNode.ByAgent, TimeSpan.FromSeconds(10));
        // Without the program for it the agent would make do with another.
        using var status = System.Text.Json.JsonDocument.Parse((await lab.AgentCommandAsync("status", "--config-file", lab.ConfigFile, "-o", "json")).Succeeded().Output);
        Assert.Equal(backend, status.RootElement.GetProperty("rules").GetProperty("backend").GetString());
        Assert.Equal(0, await agent.StopAsync());
    }

    [Fact]
    public async Task OpensslIsFoundInItAndTheTunnelStarts()
    {
        await using var lab = await NamespaceLab.CreateAsync(new LabOptions { KubeProxy = KubeProxyRules.IptablesNft });
        var root = image.Path;
        var key = Path.Combine(lab.Folder, "psk");
        await File.WriteAllTextAsync(key, Convert.ToBase64String(System.Security.Cryptography.RandomNumberGenerator.GetBytes(32)), TestContext.Current.CancellationToken);
        File.SetUnixFileMode(key, UnixFileMode.UserRead);
        lab.Manifests.Write(HybridNode.Web);
        await lab.StartAgentAsync(new AgentOptions
        {
            Config = new AgentConfig { Modules = ["edgeTunnel:", "  enable: true", "  psk:", $"    path: {key}"] },
            Launcher = Container(root, lab.Folder),
        });
        var status = (await lab.AgentCommandAsync("status", "--config-file", lab.ConfigFile)).Succeeded().Output;
        Assert.Contains("Tunnel", status, StringComparison.Ordinal);
        Assert.Contains("20006", status, StringComparison.Ordinal);
    }

    /// <summary>What a runtime does of a container that matters here: its root, a /proc, its mounted folders, a /run of its own, and the
    /// read-only rest.</summary>
    private static string[] Container(string root, string folder) =>
    [
        "unshare", "--mount", "--propagation", "private", "sh", "-ec", """
            root=$1 folder=$2
            shift 3
            mount --bind "$root" "$root"
            mount -t proc proc "$root/proc"
            mount --bind /sys "$root/sys"
            mount --bind /dev "$root/dev"
            mount -t tmpfs tmpfs "$root/run"
            mount -t tmpfs tmpfs "$root/tmp"
            mkdir -p "$root$folder"
            mount --bind "$folder" "$root$folder"
            mount -o remount,bind,ro "$root"
            exec env PATH=/usr/local/bin:/usr/sbin:/usr/bin chroot "$root" /usr/local/bin/edgemesh-agent "$@"
            """,
        "container", root, folder,
    ];

    /// <summary>Made once: it is only read.</summary>
    public sealed class ImageRoot : IAsyncLifetime
    {
        private readonly string _folder = Directory.CreateTempSubdirectory("edgemesh-image-").FullName;

        public string Path => System.IO.Path.Combine(_folder, "root");

        public async ValueTask InitializeAsync() => (await CommandResult.RunAsync(
            "sh", [Repository.PathOf("deploy/image/root.sh"), NamespaceLab.AgentProgram, Path], deadline: TimeSpan.FromMinutes(2))).Succeeded();

        public ValueTask DisposeAsync()
        {
            Directory.Delete(_folder, recursive: true);
            return ValueTask.CompletedTask;
        }
    }
}
