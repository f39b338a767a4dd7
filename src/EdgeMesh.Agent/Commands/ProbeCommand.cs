using System.CommandLine;
using System.Net;
using EdgeMesh.Agent.Options;

namespace EdgeMesh.Agent.Commands;

internal sealed record ProbeArguments
{
    /// <summary>livez, readyz or healthz.</summary>
    public required string Probe { get; init; }

    /// <inheritdoc cref="StatusArguments.AdminAddress"/>
    public required string? AdminAddress { get; init; }

    public required string ConfigFilePath { get; init; }

    public required TextWriter Output { get; init; }

    public required TextWriter Error { get; init; }
}

/// <summary><c>edgemesh-agent probe</c>: for an exec probe, where kubelet cannot ask a unix socket itself.</summary>
internal static class ProbeCommand
{
    /// <summary>The longest body that is shown; kubelet keeps less.</summary>
    private const int LargestAnswer = 64 << 10;

    private static readonly TimeSpan Deadline = TimeSpan.FromSeconds(10);

    public static Command Build(Func<ProbeArguments, CancellationToken, Task<int>> handler)
    {
        var probe = new Argument<string>("probe") { Description = "What to ask: does the agent live, is it ready, is it well" };
        probe.AcceptOnlyFromAmong("livez", "readyz", "healthz");
        var address = SharedOptions.AdminAddress();
        var configFile = SharedOptions.ConfigFilePath();
        var command = new Command("probe", "Ask the running agent one question; exit 0 for yes, 1 for no or no answer") { probe, address, configFile };
        command.SetAction((line, cancellationToken) => handler(
            new ProbeArguments
            {
                Probe = line.GetValue(probe)!,
                AdminAddress = line.GetValue(address),
                ConfigFilePath = line.GetValue(configFile) ?? ConfigFile.DefaultPath,
                Output = line.InvocationConfiguration.Output,
                Error = line.InvocationConfiguration.Error,
            },
            cancellationToken));
        return command;
    }

    public static async Task<int> RunAsync(ProbeArguments arguments, CancellationToken cancellationToken)
    {
        var (answer, failed) = await AdminClient.AskAsync(arguments.Probe, arguments.AdminAddress, arguments.ConfigFilePath, Deadline, LargestAnswer, arguments.Error, cancellationToken);
        if (answer is null)
            return failed;
        await arguments.Output.WriteAsync(PlainText.Lines(answer.Body));
        return answer.Status == HttpStatusCode.OK ? ExitCodes.Ok : ExitCodes.Failure;
    }
}
