using System.Net;
using System.Text.Json;
using EdgeMesh.Agent.Admin;
using EdgeMesh.Agent.Options;
using Spectre.Console;

namespace EdgeMesh.Agent.Commands;

/// <summary>Asks the running agent for its status and shows it.</summary>
internal static class StatusHandler
{
    private static readonly TimeSpan Deadline = TimeSpan.FromSeconds(15);
    private const int LargestStatus = 256 << 20;

    public static async Task<int> RunAsync(StatusArguments arguments, CancellationToken cancellationToken)
    {
        if (AdminAddress(arguments) is not { } address)
        {
            await arguments.Error.WriteLineAsync($"error: '{arguments.AdminAddress}' is not an address and port, as in 127.0.0.1:9999");
            return ExitCodes.Usage;
        }

        using var client = new HttpClient { Timeout = Deadline, MaxResponseContentBufferSize = LargestStatus };
        string json;
        try
        {
            json = await client.GetStringAsync(new Uri($"http://{address}/status"), cancellationToken);
        }
        catch (Exception fault) when (fault is HttpRequestException or TaskCanceledException)
        {
            await arguments.Error.WriteLineAsync(
                $"error: no agent answers at {address} ({PlainText.Of(fault.Message)}). Is it running on this node? Its address is commonConfig.adminAddress of its configuration file.");
            return ExitCodes.Failure;
        }

        if (arguments.Format == StatusFormat.Json)
        {
            await arguments.Output.WriteLineAsync(PlainText.Lines(json));
            return ExitCodes.Ok;
        }

        StatusDocument? status;
        try
        {
            status = JsonSerializer.Deserialize(json, StatusJson.Default.StatusDocument);
        }
        catch (JsonException)
        {
            status = null;
        }

        if (status is null)
        {
            await arguments.Error.WriteLineAsync($"error: what answers at {address} is not an agent of this version; name another address with --admin-address");
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

    private static IPEndPoint? AdminAddress(StatusArguments arguments)
    {
        if (arguments.AdminAddress is { } named)
            return IPEndPoint.TryParse(named, out var parsed) && parsed.Port > 0 ? parsed : null;
        var loaded = ConfigFile.Load(arguments.ConfigFilePath, AgentEnvironment.OfProcess(), new ConfigOverrides());
        return loaded.Options?.AdminAddress ?? CommonKeys.AdminAddress.Default;
    }
}
