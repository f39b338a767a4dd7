using System.IO.Compression;
using EdgeMesh.Testing;
using EdgeMesh.Testing.Lab;
using Xunit;

namespace EdgeMesh.HostTests.Packaging;

/// <summary>The package as <c>./build.sh --deb</c> makes it of the program that the tests run, made and unpacked once.</summary>
public sealed class DebianPackage : IAsyncLifetime
{
    public string Folder { get; } = Directory.CreateTempSubdirectory("edgemesh-deb-").FullName;

    public string Root => Path.Combine(Folder, "root");

    public string Scripts => Path.Combine(Folder, "scripts");

    public async ValueTask InitializeAsync()
    {
        var package = await MakeAsync("x64", NamespaceLab.AgentProgram);
        (await CommandResult.RunAsync("dpkg-deb", ["--extract", package, Root])).Succeeded();
        (await CommandResult.RunAsync("dpkg-deb", ["--control", package, Scripts])).Succeeded();
    }

    public async Task<string> MakeAsync(string arch, string program)
    {
        // The program of the tests, wherever it lies.
        const string Script = """
            root=$1 published=$3 into=$4
            source "$root/scripts/machine.sh"
            source "$root/scripts/deb.sh"
            agent_folder() { dirname "$published"; }
            make_deb "$2" "$into" none
            """;
        var made = await CommandResult.RunAsync("bash", ["-euc", Script, "deb", Repository.PathOf(""), arch, program, Folder], deadline: TimeSpan.FromMinutes(3));
        return made.Succeeded().Output.Trim();
    }

    public ValueTask DisposeAsync()
    {
        Directory.Delete(Folder, recursive: true);
        return ValueTask.CompletedTask;
    }
}

public sealed class DebianPackageTests(DebianPackage made) : IClassFixture<DebianPackage>
{

    [Fact]
    public async Task WhatIsInstalledRunsAndFindsItsFileRight()
    {
        var program = Path.Combine(made.Root, "usr/bin/edgemesh-agent");
        Assert.StartsWith("edgemesh-agent ", (await CommandResult.RunAsync(program, ["version"])).Succeeded().Output, StringComparison.Ordinal);
        var config = Path.Combine(made.Root, "etc/edgemesh/config/edgemesh-agent.yaml");
        Assert.Contains("is valid", (await CommandResult.RunAsync(program, ["config", "check", config])).Succeeded().Output, StringComparison.Ordinal);
        Assert.Contains("edgeTunnel:", await File.ReadAllTextAsync(config, TestContext.Current.CancellationToken), StringComparison.Ordinal);
        Assert.Equal(["/etc/edgemesh/config/edgemesh-agent.yaml"], await File.ReadAllLinesAsync(Path.Combine(made.Scripts, "conffiles"), TestContext.Current.CancellationToken));

        var unit = await File.ReadAllTextAsync(Path.Combine(made.Root, "lib/systemd/system/edgemesh-agent.service"), TestContext.Current.CancellationToken);
        var line = unit.Split('\n').Single(l => l.StartsWith("ExecStart=", StringComparison.Ordinal))["ExecStart=".Length..].Split(' ');
        Assert.True(File.Exists(made.Root + line[0]));
        Assert.Contains("--take-over", line);
    }

    [Fact]
    public async Task TheManPageSaysWhatTheHelpSays()
    {
        await using var file = File.OpenRead(Path.Combine(made.Root, "usr/share/man/man8/edgemesh-agent.8.gz"));
        using var page = new StreamReader(new GZipStream(file, CompressionMode.Decompress));
        var text = (await page.ReadToEndAsync(TestContext.Current.CancellationToken)).Replace("\\-", "-", StringComparison.Ordinal);
        foreach (var command in new[] { Array.Empty<string>(), ["run"], ["status"], ["cleanup"], ["config", "check"] })
        {
            var help = (await CommandResult.RunAsync(NamespaceLab.AgentProgram, [.. command, "--help"])).Succeeded().Output;
            Assert.Contains(help, text, StringComparison.Ordinal);
        }
    }

    [Fact]
    [Trait(Ring.Name, Ring.OnlyArm64)]
    public async Task ThePackageForTheOtherProcessorSaysWhichItIs()
    {
        var package = await made.MakeAsync("arm64", Arm64ProgramTests.Program);
        Assert.Equal("arm64\n", (await CommandResult.RunAsync("dpkg-deb", ["--field", package, "Architecture"])).Succeeded().Output);
    }

    [Fact]
    public async Task AnUpgradeLetsTheNewProgramTakeOverAndStopsNothing()
    {
        var asked = await ScriptAsync("postinst", "configure", "0.0.9");
        Assert.Equal(3, asked.Length);
        Assert.Equal("systemctl daemon-reload", asked[0]);
        Assert.StartsWith("systemctl is-active", asked[1], StringComparison.Ordinal);
        Assert.StartsWith("systemd-run ", asked[2], StringComparison.Ordinal);
        Assert.EndsWith("/usr/lib/edgemesh-agent/edgemesh-agent run --config-file /etc/edgemesh/config/edgemesh-agent.yaml --take-over", asked[2], StringComparison.Ordinal);
        Assert.Empty(await ScriptAsync("prerm", "upgrade", "0.2.0"));
    }

    [Fact]
    public async Task AFirstInstallationStartsNothingByItself() =>
        Assert.Equal(["systemctl daemon-reload"], await ScriptAsync("postinst", "configure"));

    /// <summary>Runs a script of the package on a machine with systemd, where every unit is active.</summary>
    /// <returns>What it asked of systemd.</returns>
    private async Task<string[]> ScriptAsync(string script, params string[] arguments)
    {
        var log = Path.Combine(made.Folder, "asked");
        await File.WriteAllTextAsync(log, "", TestContext.Current.CancellationToken);
        var programs = Directory.CreateDirectory(Path.Combine(made.Folder, "programs")).FullName;
        foreach (var name in new[] { "systemctl", "systemd-run" })
        {
            var file = Path.Combine(programs, name);
            await File.WriteAllTextAsync(file, $"#!/bin/sh\necho \"{name} $*\" >>{log}\n", TestContext.Current.CancellationToken);
            File.SetUnixFileMode(file, UnixFileMode.UserRead | UnixFileMode.UserExecute);
        }

        const string Machine = "mount -t tmpfs tmpfs /run; mkdir -p /run/systemd/system; PATH=$1:$PATH; shift; exec sh \"$@\"";
        (await CommandResult.RunAsync("unshare", ["--mount", "--propagation", "private", "sh", "-ec", Machine, "machine", programs, Path.Combine(made.Scripts, script), .. arguments])).Succeeded();
        return await File.ReadAllLinesAsync(log, TestContext.Current.CancellationToken);
    }
}
