using System.Net;
using EdgeMesh.Agent.Admin;
using EdgeMesh.Agent.Options;

namespace EdgeMesh.Agent.Commands;

/// <summary>What the running agent answered.</summary>
internal sealed record AdminAnswer(AdminEndpoint Endpoint, HttpStatusCode Status, string Body);

/// <summary>How commands ask the running agent.</summary>
internal static class AdminClient
{
    /// <param name="named">Where it is, as the command line says; null: as the configuration file does.</param>
    /// <param name="largest">The longest answer that is taken.</param>
    /// <returns>The answer; or null, with the exit status, once <paramref name="error"/> has been told why.</returns>
    public static async Task<(AdminAnswer? Answer, int ExitCode)> AskAsync(
        string path, string? named, string configFile, TimeSpan deadline, int largest, TextWriter error, CancellationToken cancellationToken)
    {
        if (Find(named, configFile) is not { } endpoint)
        {
            await error.WriteLineAsync($"error: '{named}' is neither an address and port, as in 127.0.0.1:9999, nor the absolute path of a socket");
            return (null, ExitCodes.Usage);
        }

        using var client = endpoint.NewClient();
        client.Timeout = deadline;
        client.MaxResponseContentBufferSize = largest;
        try
        {
            using var answer = await client.GetAsync(new Uri(path, UriKind.Relative), cancellationToken);
            return (new AdminAnswer(endpoint, answer.StatusCode, await answer.Content.ReadAsStringAsync(cancellationToken)), ExitCodes.Ok);
        }
        catch (Exception fault) when (fault is HttpRequestException or TaskCanceledException)
        {
            await error.WriteLineAsync(
                $"error: no agent answers at {endpoint} ({PlainText.Of(fault.Message)}). Is it running on this node? Its address is {endpoint.Setting} of its configuration file.");
            return (null, ExitCodes.Failure);
        }
    }

    /// <returns>Null: what the command line says is no place.</returns>
    private static AdminEndpoint? Find(string? named, string configFile) => named is not null
        ? AdminEndpoint.Parse(named)
        : ConfigFile.Load(configFile, AgentEnvironment.OfProcess(), new ConfigOverrides()).Options?.Admin ?? new AdminEndpoint.Tcp(CommonKeys.AdminAddress.Default);
}
