using EdgeMesh.Testing.Lab;
using Xunit;

namespace EdgeMesh.HostTests.Packaging;

/// <summary>The arm64 program, under qemu's emulation of a process: what needs no netlink of netfilter, which that has not.</summary>
[Trait(Ring.Name, Ring.OnlyArm64)]
public sealed class Arm64ProgramTests
{
    internal static readonly string Program = Environment.GetEnvironmentVariable("EDGEMESH_AGENT_ARM64")
        ?? throw new InvalidOperationException("There is no program for arm64. Build it (./build.sh --arch arm64) and name it in EDGEMESH_AGENT_ARM64.");

    [Fact]
    public async Task ItIsForArm64AndSaysWhichVersionItIs()
    {
        var head = new byte[20];
        await using (var file = File.OpenRead(Program))
            await file.ReadExactlyAsync(head, TestContext.Current.CancellationToken);
        // e_machine of the ELF header: EM_AARCH64.
        Assert.Equal(183, head[18]);
        Assert.StartsWith("edgemesh-agent ", (await RunAsync("version")).Succeeded().Output, StringComparison.Ordinal);
    }

    [Fact]
    public async Task ItWritesAndChecksItsFiles()
    {
        var folder = Directory.CreateTempSubdirectory("edgemesh-arm64-");
        try
        {
            foreach (var kind in new[] { "minimal", "default" })
            {
                var file = Path.Combine(folder.FullName, $"{kind}.yaml");
                await File.WriteAllTextAsync(file, (await RunAsync("config", kind)).Succeeded().Output, TestContext.Current.CancellationToken);
                Assert.Contains($"{file} is valid", (await RunAsync("config", "check", file)).Succeeded().Output, StringComparison.Ordinal);
            }

            var wrong = Path.Combine(folder.FullName, "wrong.yaml");
            await File.WriteAllTextAsync(wrong, "modules:\n  edgeProxi: {}\n", TestContext.Current.CancellationToken);
            var told = await RunAsync("config", "check", wrong);
            Assert.Equal(2, told.ExitCode);
            Assert.Contains("did you mean modules.edgeProxy?", told.Output, StringComparison.Ordinal);
        }
        finally
        {
            folder.Delete(recursive: true);
        }
    }

    private static Task<CommandResult> RunAsync(params string[] arguments) =>
        CommandResult.RunAsync("qemu-aarch64-static", ["-L", "/usr/aarch64-linux-gnu", Program, .. arguments], deadline: TimeSpan.FromMinutes(2));
}
