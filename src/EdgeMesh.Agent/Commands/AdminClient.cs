using EdgeMesh.Agent.Admin;
using EdgeMesh.Agent.Options;

namespace EdgeMesh.Agent.Commands;

/// <summary>How commands ask the running agent.</summary>
internal static class AdminClient
{
    /// <param name="named">What the command line says; null: nothing.</param>
    /// <returns>Null: what it says is no place.</returns>
    public static AdminEndpoint? Find(string? named, string configFile) => named is not null
        ? AdminEndpoint.Parse(named)
        : ConfigFile.Load(configFile, AgentEnvironment.OfProcess(), new ConfigOverrides()).Options?.Admin ?? new AdminEndpoint.Tcp(CommonKeys.AdminAddress.Default);

    public static string NoPlace(string? named) => $"error: '{named}' is neither an address and port, as in 127.0.0.1:9999, nor the absolute path of a socket";

    public static string NoAnswer(AdminEndpoint endpoint, Exception fault) =>
        $"error: no agent answers at {endpoint} ({PlainText.Of(fault.Message)}). Is it running on this node? Its address is {endpoint.Setting} of its configuration file.";
}
