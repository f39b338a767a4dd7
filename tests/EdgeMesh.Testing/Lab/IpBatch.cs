using System.Text;

namespace EdgeMesh.Testing.Lab;

internal static class IpBatch
{
    /// <summary>One ip process for many commands; it stops at the first that fails and names its line.</summary>
    /// <param name="space">Null: where the tests run.</param>
    public static async Task RunAsync(string? space, IEnumerable<string> commands)
    {
        string[] where = space is null ? [] : ["-n", space];
        var batch = new StringBuilder();
        foreach (var command in commands)
            batch.Append(command).Append('\n');
        var result = await CommandResult.RunAsync("ip", [.. where, "-batch", "-"], batch.ToString());
        if (result.ExitCode != 0)
            throw new InvalidOperationException($"The lab cannot be built: {result.CommandLine} said: {result.Errors}The batch was:\n{batch}");
    }
}
