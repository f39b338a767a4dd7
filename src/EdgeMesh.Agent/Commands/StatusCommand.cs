using System.CommandLine;
using EdgeMesh.Agent.Options;

namespace EdgeMesh.Agent.Commands;

internal enum StatusFormat
{
    Table,
    Json,
}

internal sealed record StatusArguments
{
    /// <summary>Null: <c>commonConfig.adminAddress</c> of <see cref="ConfigFilePath"/>.</summary>
    public required string? AdminAddress { get; init; }

    public required string ConfigFilePath { get; init; }

    public required StatusFormat Format { get; init; }

    public required TextWriter Output { get; init; }

    public required TextWriter Error { get; init; }
}

/// <summary><c>edgemesh-agent status</c>: asks the running agent.</summary>
internal static class StatusCommand
{
    public static Command Build(Func<StatusArguments, CancellationToken, Task<int>> handler)
    {
        var format = SharedOptions.Format();
        var address = SharedOptions.AdminAddress();
        var configFile = SharedOptions.ConfigFilePath();
        var command = new Command("status", "Show what the running agent on this node does: source, rules, and each service") { format, address, configFile };
        command.SetAction((line, cancellationToken) => handler(
            new StatusArguments
            {
                AdminAddress = line.GetValue(address),
                ConfigFilePath = line.GetValue(configFile) ?? ConfigFile.DefaultPath,
                Format = SharedOptions.FormatOf(line, format),
                Output = line.InvocationConfiguration.Output,
                Error = line.InvocationConfiguration.Error,
            },
            cancellationToken));
        return command;
    }
}
