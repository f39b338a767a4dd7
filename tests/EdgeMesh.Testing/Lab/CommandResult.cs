using System.Collections.Immutable;
using System.Diagnostics;

namespace EdgeMesh.Testing.Lab;

/// <summary>What a program said and how it ended.</summary>
public sealed record CommandResult(string CommandLine, int ExitCode, string Output, string Errors)
{
    /// <summary>Returns itself when the exit status is 0, otherwise throws with everything that the program said.</summary>
    public CommandResult Succeeded() =>
        ExitCode == 0 ? this : throw new InvalidOperationException($"`{CommandLine}` ended with {ExitCode}.\n{Errors}{Output}");

    /// <summary>Runs a program to its end. Past the deadline it is killed and a <see cref="TimeoutException"/> tells what it had said.</summary>
    /// <param name="inside">It starts there, as a child of the thread that lives there, which saves a second program; it sees the mounts of this
    /// process. Null: where the tests run.</param>
    public static async Task<CommandResult> RunAsync(
        string file, IEnumerable<string> arguments, string? input = null, TimeSpan? deadline = null, NetworkNamespace? inside = null,
        IReadOnlyDictionary<string, string?>? environment = null)
    {
        var start = new ProcessStartInfo(file) { UseShellExecute = false, RedirectStandardInput = true, RedirectStandardOutput = true, RedirectStandardError = true };
        foreach (var argument in arguments)
            start.ArgumentList.Add(argument);
        foreach (var (key, value) in environment ?? ImmutableDictionary<string, string?>.Empty)
            start.Environment[key] = value;
        var line = $"{inside?.Name}{(inside is null ? "" : ": ")}{file} {string.Join(' ', start.ArgumentList)}";
        using var process = inside is null ? Start(start, line) : inside.Run(() => Start(start, line));
        using var timeout = new CancellationTokenSource((deadline ?? TimeSpan.FromSeconds(30)).Here());
        var output = process.StandardOutput.ReadToEndAsync(CancellationToken.None);
        var errors = process.StandardError.ReadToEndAsync(CancellationToken.None);
        try
        {
            if (input is not null)
                await process.StandardInput.WriteAsync(input.AsMemory(), timeout.Token);
            process.StandardInput.Close();
        }
        catch (IOException)
        {
            // It ended without reading its input; its exit status says more.
        }

        try
        {
            await process.WaitForExitAsync(timeout.Token);
        }
        catch (OperationCanceledException e)
        {
            process.Kill(entireProcessTree: true);
            throw new TimeoutException($"`{line}` did not end in time. It said: {await output}{await errors}", e);
        }

        return new CommandResult(line, process.ExitCode, await output, await errors);
    }

    private static Process Start(ProcessStartInfo start, string line)
    {
        try
        {
            return Process.Start(start) ?? throw new InvalidOperationException($"`{line}` did not start.");
        }
        catch (System.ComponentModel.Win32Exception e)
        {
            throw new InvalidOperationException($"`{start.FileName}` cannot be started ({e.Message}). ./test.sh installs the programs that host tests need.", e);
        }
    }
}
