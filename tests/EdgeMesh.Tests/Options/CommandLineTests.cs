using EdgeMesh.Agent.Commands;
using EdgeMesh.Agent.Options;
using Xunit;

namespace EdgeMesh.Tests.Options;

public sealed class CommandLineTests : IDisposable
{
    private readonly TemporaryFolder _folder = new();
    private readonly StringWriter _output = new();
    private readonly StringWriter _error = new();
    private RunArguments? _run;
    private StatusArguments? _status;
    private CleanupArguments? _cleanup;
    private ProbeArguments? _probe;

    [Theory]
    [InlineData("run --config-file FILE --node-name n1 --manifests /m")]
    [InlineData("--config-file FILE --node-name n1 --manifests /m")]
    [InlineData("--config-file=FILE --node-name=n1 --manifests=/m")]
    [InlineData("--config-file FILE run --node-name n1 --manifests /m")]
    public async Task RunIsMeantWithAndWithoutItsName(string line)
    {
        Assert.Equal(0, await InvokeAsync(line));
        Assert.Equal(("n1", "manifests in /m"), (_run!.Options.NodeName, _run.Options.Source.Description));
        Assert.Equal("n1", _run.Overrides.NodeName);
        Assert.Equal(_run.Options, _run.Loaded.Options);
    }

    [Theory]
    [InlineData("", false, false)]
    [InlineData("--take-over", true, false)]
    [InlineData("run --take-over --when-taken-over wait", true, true)]
    [InlineData("run --when-taken-over exit", false, false)]
    public async Task TakingOverIsAskedFor(string line, bool takeOver, bool stay)
    {
        Assert.Equal(0, await InvokeAsync($"{line} --config-file FILE".Trim()));
        Assert.Equal((takeOver, stay), (_run!.TakeOver, _run.StayWhenTakenOver));
    }

    [Fact]
    public async Task RunWithAWrongFileTellsEveryFaultAndDoesNotRun()
    {
        var path = _folder.Write("bad.yaml", ConfigSample.Proxy("listenPort: 0\n    zzzzzz: 1"));
        Assert.Equal(2, await InvokeAsync($"run --config-file {path}"));
        Assert.Null(_run);
        Assert.Contains("bad.yaml:4:17: modules.edgeProxy.listenPort: 0 is out of range", _error.ToString(), StringComparison.Ordinal);
        Assert.Contains("bad.yaml has 2 faults", _error.ToString(), StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("--nod-name x", "--nod-name")]
    [InlineData("config", "Required command")]
    [InlineData("config chek", "chek")]
    [InlineData("config check", "Required argument")]
    [InlineData("status -o xml", "xml")]
    [InlineData("rum", "rum")]
    [InlineData("--v loud", "loud")]
    public async Task AWrongCommandLineIsExitCodeTwoAndOneMessage(string line, string says)
    {
        Assert.Equal(2, await InvokeAsync(line));
        Assert.Contains(says, _error.ToString(), StringComparison.Ordinal);
        Assert.Contains("edgemesh-agent --help", _error.ToString(), StringComparison.Ordinal);
        Assert.Null(_run);
    }

    [Fact]
    public async Task StatusAsksTheAgentThatTheFileNamesOrTheCommandLine()
    {
        Assert.Equal(0, await InvokeAsync("status -o json --admin-address 127.0.0.1:1"));
        Assert.Equal((StatusFormat.Json, "127.0.0.1:1", ConfigFile.DefaultPath), (_status!.Format, _status.AdminAddress, _status.ConfigFilePath));
        await InvokeAsync("status --config-file /c");
        Assert.Equal((StatusFormat.Table, null, "/c"), (_status.Format, _status.AdminAddress, _status.ConfigFilePath));
    }

    [Theory]
    [InlineData("probe livez", 0)]
    [InlineData("probe readyz --admin-address /run/a.sock", 0)]
    [InlineData("probe", 2)]
    [InlineData("probe alive", 2)]
    public async Task AProbeIsOneOfThree(string line, int code)
    {
        Assert.Equal(code, await InvokeAsync(line));
        Assert.Equal(code == 0, _probe is not null);
    }

    [Fact]
    public async Task CleanupWorksWithoutAFileAndSaysWhatIsWrongWithOne()
    {
        Assert.Equal(0, await InvokeAsync("cleanup --config-file FILE"));
        Assert.Equal("edgemesh0", _cleanup!.Options!.DeviceName);
        _cleanup = null;
        Assert.Equal(0, await InvokeAsync($"cleanup --config-file {_folder.Path}/none"));
        Assert.Null(_cleanup!.Options);
        Assert.Contains($"{_folder.Path}/none", _error.ToString(), StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("config default")]
    [InlineData("--defaultconfig")]
    public async Task TheDefaultFileIsWritten(string line)
    {
        Assert.Equal(0, await InvokeAsync(line));
        Assert.Equal(ConfigText.Default(), _output.ToString());
    }

    [Theory]
    [InlineData("config minimal")]
    [InlineData("--minconfig")]
    public async Task TheMinimalFileIsWritten(string line)
    {
        Assert.Equal(0, await InvokeAsync(line));
        Assert.Equal(ConfigText.Minimal(), _output.ToString());
    }

    [Theory]
    [InlineData("version")]
    [InlineData("--version")]
    public async Task TheVersionIsShown(string line)
    {
        Assert.Equal(0, await InvokeAsync(line));
        Assert.StartsWith("edgemesh-agent 0.", _output.ToString(), StringComparison.Ordinal);
    }

    [Fact]
    public async Task CheckSaysWhatTheAgentWouldDo()
    {
        Assert.Equal(0, await InvokeAsync("config check FILE"));
        var text = _output.ToString();
        Assert.Contains("agent.yaml is valid", text, StringComparison.Ordinal);
        Assert.Contains("source   API server of this cluster", text, StringComparison.Ordinal);
        Assert.Contains("backend auto, chains EDGEMESH-PORTALS-CONTAINER", text, StringComparison.Ordinal);
        Assert.Contains("services without the filter label, except default/kubernetes", text, StringComparison.Ordinal);
    }

    [Fact]
    public async Task CheckTellsFaultsAndWarnings()
    {
        var path = _folder.Write("bad.yaml", "commonConfig: {adminAddress: \"0.0.0.0:9999\"}\nkind: x\n");
        Assert.Equal(2, await InvokeAsync($"config check {path}"));
        Assert.Contains("error: ", _output.ToString(), StringComparison.Ordinal);
        Assert.Contains("warning: ", _output.ToString(), StringComparison.Ordinal);
        Assert.Contains("bad.yaml has 1 fault", _output.ToString(), StringComparison.Ordinal);
    }

    [Fact]
    public async Task HelpNamesEveryCommandAndTheDefaultFile()
    {
        Assert.Equal(0, await InvokeAsync("--help"));
        foreach (var word in new[] { "run", "config", "status", "cleanup", "version", "--config-file", "--manifests", "--node-name", ConfigFile.DefaultPath })
            Assert.Contains(word, _output.ToString(), StringComparison.Ordinal);
    }

    private async Task<int> InvokeAsync(string line)
    {
        var path = _folder.Write("agent.yaml", ConfigText.Minimal());
        var handlers = new CommandHandlers
        {
            Run = (arguments, _) => Keep(() => _run = arguments),
            Status = (arguments, _) => Keep(() => _status = arguments),
            Cleanup = (arguments, _) => Keep(() => _cleanup = arguments),
            Probe = (arguments, _) => Keep(() => _probe = arguments),
        };
        return await AgentCommandLine.InvokeAsync(
            line.Replace("FILE", path, StringComparison.Ordinal).Split(' '), ConfigSample.Cloud, handlers, _output, _error);
    }

    private static Task<int> Keep(Action keep)
    {
        keep();
        return Task.FromResult(ExitCodes.Ok);
    }

    public void Dispose()
    {
        _folder.Dispose();
        _output.Dispose();
        _error.Dispose();
    }
}
