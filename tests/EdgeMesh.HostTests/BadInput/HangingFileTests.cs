using EdgeMesh.Testing.Lab;
using Xunit;

namespace EdgeMesh.HostTests.BadInput;

/// <summary>Files on a file system whose server never answers, as that of a storage that is gone: whoever touches one waits in the
/// kernel, and nothing but the end of the process ends that.</summary>
public sealed class HangingFileTests
{
    /// <summary>Mounts a file system that answers nothing over a folder, and becomes the agent, which keeps it open.</summary>
    private const string Mount = """
        import ctypes, os, sys
        device = os.open('/dev/fuse', os.O_RDWR)
        os.set_inheritable(device, True)
        os.makedirs(sys.argv[1], exist_ok=True)
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.mount(b'hanging', sys.argv[1].encode(), b'fuse', 0, b'fd=%d,rootmode=40000,user_id=0,group_id=0' % device) != 0:
            sys.exit(os.strerror(ctypes.get_errno()))
        os.execv(sys.argv[2], sys.argv[2:])
        """;

    [Fact]
    public async Task ASignalToStopEndsAnAgentWhoseSourceHangs()
    {
        await using var lab = await NamespaceLab.CreateAsync();
        lab.Manifests.Write(HybridNode.Web);
        var hanging = Path.Combine(lab.Folder, "hanging");
        File.CreateSymbolicLink(Path.Combine(lab.Manifests.Path, "z.yaml"), Path.Combine(hanging, "z.yaml"));

        var agent = await lab.StartAgentAsync(new AgentOptions { Launcher = ["python3", "-c", Mount, hanging], WaitUntilReady = false });
        await Eventually.SeesAsync(() => agent.Log, log => log.Contains("Answering on", StringComparison.Ordinal) || agent.Process.HasExited, TimeSpan.FromSeconds(30), "the agent answers");
        var (status, body) = await agent.GetAsync("/readyz");
        Assert.Equal(503, status);
        Assert.Contains("have not both been listed yet", body, StringComparison.Ordinal);
        Assert.Equal(200, (await agent.GetAsync("/livez")).Status);

        Assert.Equal(0, await agent.StopAsync(TimeSpan.FromSeconds(40)));
        Assert.Matches("has not ended within 10 s \\(source", agent.Log);
    }
}
