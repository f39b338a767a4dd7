using System.Text.Json;
using EdgeMesh.Agent.Admin;
using Spectre.Console;

namespace EdgeMesh.Agent.Commands;

/// <summary>Asks the running agent for its status and shows it.</summary>
internal static class StatusHandler
{
    private static readonly TimeSpan Deadline = TimeSpan.FromSeconds(15);
    private const int LargestStatus = 256 << 20;

    public static async Task<int> RunAsync(StatusArguments arguments, CancellationToken cancellationToken)
    {
        var (answer, failed) = await AdminClient.AskAsync("status", arguments.AdminAddress, arguments.ConfigFilePath, Deadline, LargestStatus, arguments.Error, cancellationToken);
        if (answer is null)
            return failed;
        if (arguments.Format == StatusFormat.Json)
        {
            await arguments.Output.WriteLineAsync(PlainText.Lines(answer.Body));
            return ExitCodes.Ok;
        }

        StatusDocument? status;
        try
        {
            status = JsonSerializer.Deserialize(answer.Body, StatusJson.Default.StatusDocument);
        }
        catch (JsonException)
        {
            status = null;
        }

        if (status is null)
        {
            await arguments.Error.WriteLineAsync($"error: what answers at {answer.Endpoint} is not an agent of this version; name another address with --admin-address");
            return ExitCodes.Failure;
        }

        var console = AnsiConsole.Create(new AnsiConsoleSettings
        {
            Out = new AnsiConsoleOutput(arguments.Output),
            Ansi = Console.IsOutputRedirected ? AnsiSupport.No : AnsiSupport.Detect,
            ColorSystem = Console.IsOutputRedirected ? ColorSystemSupport.NoColors : ColorSystemSupport.Detect,
        });
        if (Console.IsOutputRedirected)
            console.Profile.Width = 200;
        StatusView.Write(console, status, TimeProvider.System.GetUtcNow());
        return ExitCodes.Ok;
    }
}
