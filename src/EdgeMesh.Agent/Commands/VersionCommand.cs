using System.CommandLine;
using System.Runtime.InteropServices;

namespace EdgeMesh.Agent.Commands;

internal static class VersionCommand
{
    public static string Text { get; } =
        $"edgemesh-agent {AgentVersion.Text} ({RuntimeInformation.FrameworkDescription}, {RuntimeInformation.RuntimeIdentifier})";

    public static Command Build()
    {
        var command = new Command("version", "Show the version of this program");
        command.SetAction(line => WriteAsync(line));
        return command;
    }

    public static async Task<int> WriteAsync(ParseResult line)
    {
        await line.InvocationConfiguration.Output.WriteLineAsync(Text);
        return ExitCodes.Ok;
    }
}
