using System.Collections.Immutable;
using System.ComponentModel;
using System.Diagnostics;
using System.Text;

namespace EdgeMesh.Netfilter.Nftables;

/// <summary>The real nft: one short process per transaction or question.</summary>
/// <param name="command">How to start it; the first word is the program.</param>
/// <param name="runs">Told of each process.</param>
internal sealed class NftProcess(ImmutableArray<string> command, TimeSpan deadline, ProgramRuns? runs = null) : INft
{
    // A table of 10,000 services with 10 endpoints each prints 10 MB.
    private const int OutputLimit = 128 * 1024 * 1024;
    private const int ErrorLimit = 64 * 1024;

    public Task<NftAnswer> RunAsync(NftTransaction transaction, bool checkOnly, NftTransaction.Step from, NftTransaction.Step to, CancellationToken cancellationToken) =>
        RunAsync(checkOnly ? ["-c", "-f", "-"] : ["-f", "-"], (stream, token) => transaction.WriteToAsync(stream, from, to, token), cancellationToken);

    public Task<NftAnswer> ListAsync(string what, CancellationToken cancellationToken) =>
        RunAsync(["-nn", "list", .. what.Split(' ')], input: null, cancellationToken);

    private async Task<NftAnswer> RunAsync(string[] arguments, Func<Stream, CancellationToken, Task>? input, CancellationToken cancellationToken)
    {
        var start = new ProcessStartInfo(command[0])
        {
            RedirectStandardInput = true,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
            UseShellExecute = false,
        };
        foreach (var argument in command.Skip(1).Concat(arguments))
            start.ArgumentList.Add(argument);
        // The messages are compared with the C locale's.
        start.Environment["LC_ALL"] = "C";

        using var timeLimit = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        timeLimit.CancelAfter(deadline);
        using var process = Start(start);
        using var run = runs?.Begin(process.Id, string.Join(' ', command.Concat(arguments)));
        try
        {
            var output = ReadAsync(process.StandardOutput, OutputLimit, timeLimit.Token);
            var error = ReadAsync(process.StandardError, ErrorLimit, timeLimit.Token);
            await WriteAsync(process, input, timeLimit.Token);
            var outputText = await output;
            var errorText = await error;
            await process.WaitForExitAsync(timeLimit.Token);
            return new NftAnswer(process.ExitCode, outputText, errorText.Trim());
        }
        catch (OperationCanceledException e) when (!cancellationToken.IsCancellationRequested)
        {
            throw new NetfilterException(
                $"`{string.Join(' ', command.Concat(arguments))}` did not finish within {deadline.TotalSeconds:0} s and was ended. "
                + "The rules stand as before; it is tried again.",
                e)
            {
                IsTransient = true,
            };
        }
        finally
        {
            if (!process.HasExited)
                process.Kill(entireProcessTree: true);
        }
    }

    private Process Start(ProcessStartInfo start)
    {
        try
        {
            return Process.Start(start) ?? throw new NetfilterException($"`{command[0]}` was not started.");
        }
        catch (Win32Exception e)
        {
            throw new NetfilterException($"`{command[0]}` cannot be started: {e.Message}. Install the package nftables, or set `backend: iptables`.", e);
        }
    }

    private static async Task WriteAsync(Process process, Func<Stream, CancellationToken, Task>? input, CancellationToken cancellationToken)
    {
        try
        {
            if (input is not null)
                await input(process.StandardInput.BaseStream, cancellationToken);
            process.StandardInput.Close();
        }
        catch (IOException)
        {
            // nft ended before it had read everything; its error output says why.
        }
    }

    private static async Task<string> ReadAsync(StreamReader reader, int limit, CancellationToken cancellationToken)
    {
        var text = new StringBuilder();
        var buffer = new char[16 * 1024];
        int read;
        while ((read = await reader.ReadAsync(buffer, cancellationToken)) > 0)
        {
            // Reading goes on past the limit, else nft would block on a full pipe.
            if (text.Length + read <= limit)
                text.Append(buffer, 0, read);
        }

        return text.ToString();
    }
}
