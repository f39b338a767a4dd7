using System.Diagnostics;
using System.Text;

namespace EdgeMesh.Testing.Lab;

/// <summary>A program that runs inside a namespace. <c>ip netns exec</c> becomes the program itself, so <see cref="Id"/> is the program's.</summary>
public sealed class LabProcess : IAsyncDisposable
{
    private const int LogLimit = 8 << 20;

    private readonly Process _process;
    private readonly StringBuilder _log = new();

    public LabProcess(string space, string file, IEnumerable<string> arguments, IReadOnlyDictionary<string, string?>? environment)
    {
        var start = new ProcessStartInfo("ip") { UseShellExecute = false, RedirectStandardInput = true, RedirectStandardOutput = true, RedirectStandardError = true };
        foreach (var argument in (IEnumerable<string>)["netns", "exec", space, file, .. arguments])
            start.ArgumentList.Add(argument);
        foreach (var (key, value) in environment ?? new Dictionary<string, string?>())
        {
            if (value is null)
                start.Environment.Remove(key);
            else
                start.Environment[key] = value;
        }

        CommandLine = $"{file} {string.Join(' ', arguments)}";
        _process = new Process { StartInfo = start };
        _process.OutputDataReceived += (_, line) => Keep(line.Data);
        _process.ErrorDataReceived += (_, line) => Keep(line.Data);
        _process.Start();
        _process.BeginOutputReadLine();
        _process.BeginErrorReadLine();
        _process.StandardInput.Close();
    }

    public string CommandLine { get; }

    public int Id => _process.Id;

    public bool HasExited => _process.HasExited;

    public int ExitCode => _process.ExitCode;

    /// <summary>What it has written so far, output and errors in the order in which they came; the first 8 MB.</summary>
    public string Log
    {
        get
        {
            lock (_log)
                return _log.ToString();
        }
    }

    public ProcessFacts Facts => ProcessFacts.Read(Id);

    /// <summary>SIGTERM, then waits for the end.</summary>
    public Task<int> StopAsync(TimeSpan? deadline = null) => EndAsync(15, deadline);

    /// <summary>SIGKILL, then waits for the end.</summary>
    public Task<int> KillAsync() => EndAsync(9, null);

    /// <summary>SIGSTOP: it hangs as a process that lost its processor does.</summary>
    public void Pause() => NamespaceCalls.Signal(Id, 19);

    public void Resume() => NamespaceCalls.Signal(Id, 18);

    public async Task<int> WaitForExitAsync(TimeSpan deadline)
    {
        using var timeout = new CancellationTokenSource(deadline.Here());
        try
        {
            await _process.WaitForExitAsync(timeout.Token);
        }
        catch (OperationCanceledException e)
        {
            throw new TimeoutException($"`{CommandLine}` still runs after {deadline.TotalSeconds:0.#} s. Its log:\n{Log}", e);
        }

        return _process.ExitCode;
    }

    public async ValueTask DisposeAsync()
    {
        if (!_process.HasExited)
            await KillAsync();
        _process.Dispose();
    }

    private Task<int> EndAsync(int signal, TimeSpan? deadline)
    {
        if (!_process.HasExited)
            NamespaceCalls.Signal(Id, signal);
        return WaitForExitAsync(deadline ?? TimeSpan.FromSeconds(30));
    }

    private void Keep(string? line)
    {
        if (line is null)
            return;
        lock (_log)
        {
            if (_log.Length < LogLimit)
                _log.AppendLine(line);
        }
    }
}
