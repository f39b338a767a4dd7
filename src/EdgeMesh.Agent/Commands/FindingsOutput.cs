using EdgeMesh.Agent.Options;

namespace EdgeMesh.Agent.Commands;

/// <summary>Findings as lines that editors and people can follow.</summary>
internal static class FindingsOutput
{
    public static async Task WriteFaultsAsync(TextWriter output, LoadedConfig loaded)
    {
        foreach (var fault in loaded.Faults)
            await output.WriteLineAsync($"error: {fault}");
        await WriteWarningsAsync(output, loaded);
        var count = loaded.Faults.Length;
        await output.WriteLineAsync($"{PlainText.Of(loaded.File)} has {count} {(count == 1 ? "fault" : "faults")}");
    }

    public static async Task WriteWarningsAsync(TextWriter output, LoadedConfig loaded)
    {
        foreach (var warning in loaded.Warnings)
            await output.WriteLineAsync($"warning: {warning}");
    }
}
