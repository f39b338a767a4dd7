using System.ComponentModel;
using System.Diagnostics;
using System.Text;
using EdgeMesh.Net;
using EdgeMesh.Netfilter.Iptables;

namespace EdgeMesh.Netfilter;

/// <summary>Runs commands of this machine.</summary>
/// <param name="runs">Told of each process.</param>
/// <param name="chains">Answers <see cref="ICommands.Chains"/>.</param>
public sealed class HostCommands(
    TimeProvider time, ProgramRuns? runs = null, Func<IptablesVariant, IpFamily, IReadOnlyCollection<ChainName>?>? chains = null) : ICommands
{
    // A whole table of 10,000 services with 10 endpoints is about 40 MB of text; a command that answers more is broken.
    private const int MaxOutput = 256 * 1024 * 1024;

    // iptables lives in sbin, which the PATH of a service or of a plain user often lacks.
    private static readonly string[] SystemFolders = ["/usr/sbin", "/sbin", "/usr/local/sbin", "/usr/bin", "/bin"];

    private static readonly UTF8Encoding Utf8 = new(encoderShouldEmitUTF8Identifier: false);

    public bool Exists(string command) => Find(command) is not null;

    public IReadOnlyCollection<ChainName>? Chains(IptablesVariant variant, IpFamily family) => chains?.Invoke(variant, family);

    public async Task<CommandResult> RunAsync(
        string command, IReadOnlyList<string> arguments, IEnumerable<ReadOnlyMemory<char>>? input, TimeSpan deadline, CancellationToken cancellationToken)
    {
        ArgumentNullException.ThrowIfNull(arguments);
        var shown = $"{command} {string.Join(' ', arguments)}";
        var path = Find(command)
            ?? throw new NetfilterException($"`{command}` is not installed (looked in PATH and {string.Join(", ", SystemFolders)}); install the package that has it.");
        var start = new ProcessStartInfo(path)
        {
            UseShellExecute = false,
            RedirectStandardInput = true,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
            StandardInputEncoding = Utf8,
            StandardOutputEncoding = Utf8,
            StandardErrorEncoding = Utf8,
        };
        foreach (var argument in arguments)
            start.ArgumentList.Add(argument);

        using var process = new Process { StartInfo = start };
        try
        {
            process.Start();
        }
        catch (Win32Exception e)
        {
            throw new NetfilterException($"`{shown}` could not be started: {e.Message}", e) { IsTransient = true };
        }

        using var run = runs?.Begin(process.Id, shown);
        using var timeout = new CancellationTokenSource(deadline, time);
        using var either = CancellationTokenSource.CreateLinkedTokenSource(timeout.Token, cancellationToken);
        try
        {
            var output = ReadAsync(process.StandardOutput, either.Token);
            var error = ReadAsync(process.StandardError, either.Token);
            await FeedAsync(process, input, either.Token);
            var result = (Output: await output, Error: await error);
            await process.WaitForExitAsync(either.Token);
            return new CommandResult(process.ExitCode, result.Output, result.Error);
        }
        catch (OperationCanceledException e) when (!cancellationToken.IsCancellationRequested)
        {
            throw new NetfilterException($"`{shown}` did not end within {deadline.TotalSeconds:0} s and was killed; nothing of it is in force. It is tried again.", e) { IsTransient = true };
        }
        finally
        {
            Kill(process);
        }
    }

    public async Task<IReadOnlyList<string>?> ReadProcAsync(string path, CancellationToken cancellationToken)
    {
        try
        {
            return await File.ReadAllLinesAsync(path, cancellationToken);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return null;
        }
    }

    private static async Task FeedAsync(Process process, IEnumerable<ReadOnlyMemory<char>>? input, CancellationToken cancellationToken)
    {
        try
        {
            process.StandardInput.AutoFlush = false;
            foreach (var piece in input ?? [])
                await process.StandardInput.WriteAsync(piece, cancellationToken);
            process.StandardInput.Close();
        }
        catch (IOException)
        {
            // It ended before it had read everything; its exit code and stderr say why.
        }
    }

    private static async Task<string> ReadAsync(StreamReader reader, CancellationToken cancellationToken)
    {
        var text = new StringBuilder();
        var buffer = new char[32 * 1024];
        int read;
        while ((read = await reader.ReadAsync(buffer, cancellationToken)) > 0)
        {
            if (text.Length + read > MaxOutput)
                throw new NetfilterException($"A command answered more than {MaxOutput / 1024 / 1024} MB.");
            text.Append(buffer, 0, read);
        }

        return text.ToString();
    }

    private static void Kill(Process process)
    {
        try
        {
            if (!process.HasExited)
                process.Kill(entireProcessTree: true);
        }
        catch (Exception e) when (e is InvalidOperationException or Win32Exception)
        {
            // It ended by itself meanwhile.
        }
    }

    private static string? Find(string command)
    {
        if (command.Contains('/', StringComparison.Ordinal))
            return File.Exists(command) ? command : null;
        var folders = (Environment.GetEnvironmentVariable("PATH") ?? "").Split(':', StringSplitOptions.RemoveEmptyEntries);
        return folders.Concat(SystemFolders).Select(folder => Path.Combine(folder, command)).FirstOrDefault(File.Exists);
    }
}
