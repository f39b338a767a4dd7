using System.Collections.Concurrent;
using System.Diagnostics;
using System.Reflection;
using System.Text.Json.Nodes;
using EdgeMesh.LibP2P.Addresses;

namespace EdgeMesh.InteropTests;

/// <summary>A js-libp2p node in a process of its own, driven by lines of JSON.</summary>
internal sealed class JsNode : IAsyncDisposable
{
    private static readonly TimeSpan AnswerTime = TimeSpan.FromSeconds(45);

    private readonly Process _process;
    private readonly ConcurrentDictionary<int, TaskCompletionSource<JsonObject>> _waiting = new();
    private readonly ConcurrentQueue<string> _complaints = new();
    private int _lastId;

    private JsNode(Process process) => _process = process;

    internal PeerId Peer { get; private set; } = null!;

    internal IReadOnlyList<Multiaddr> Addresses { get; private set; } = [];

    internal static async Task<JsNode> StartAsync(JsonObject options)
    {
        var folder = typeof(JsNode).Assembly.GetCustomAttributes<AssemblyMetadataAttribute>().Single(a => a.Key == "InteropJs").Value!;
        if (!Directory.Exists(Path.Combine(folder, "node_modules")))
            throw new InvalidOperationException("the packages of tests/interop-js are missing: run `npm ci` there, or ./test.sh, which does");
        var start = new ProcessStartInfo("node", ["--import", "./polyfill.mjs", "node.mjs", options.ToJsonString()])
        {
            UseShellExecute = false,
            WorkingDirectory = folder,
            RedirectStandardInput = true,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
        };
        var node = new JsNode(Process.Start(start)!);
        var ready = node._waiting.GetOrAdd(0, _ => new TaskCompletionSource<JsonObject>(TaskCreationOptions.RunContinuationsAsynchronously));
        node._process.OutputDataReceived += (_, line) => node.Take(line.Data);
        node._process.ErrorDataReceived += (_, line) => node._complaints.Enqueue(line.Data ?? "");
        node._process.BeginOutputReadLine();
        node._process.BeginErrorReadLine();
        try
        {
            node.Learn(await ready.Task.WaitAsync(AnswerTime));
        }
        catch
        {
            await node.DisposeAsync();
            throw;
        }

        return node;
    }

    /// <summary>Sends one command and gives its answer.</summary>
    internal async Task<JsonObject> DoAsync(string what, JsonObject? arguments = null)
    {
        var id = Interlocked.Increment(ref _lastId);
        var answer = _waiting.GetOrAdd(id, _ => new TaskCompletionSource<JsonObject>(TaskCreationOptions.RunContinuationsAsynchronously));
        var command = arguments ?? [];
        command["id"] = id;
        command["do"] = what;
        await _process.StandardInput.WriteLineAsync(command.ToJsonString());
        await _process.StandardInput.FlushAsync();
        var got = await answer.Task.WaitAsync(AnswerTime);
        return got["error"] is { } error ? throw new InvalidOperationException($"js-libp2p could not {what}: {error}") : got;
    }

    /// <summary>Asks for the addresses again: a relayed one comes later than the others.</summary>
    internal async Task RefreshAsync() => Learn(await DoAsync("info"));

    public async ValueTask DisposeAsync()
    {
        try
        {
            _process.StandardInput.Close();
            using var deadline = new CancellationTokenSource(TimeSpan.FromSeconds(5));
            await _process.WaitForExitAsync(deadline.Token);
        }
        catch (Exception e) when (e is OperationCanceledException or IOException)
        {
            _process.Kill();
        }

        _process.Dispose();
    }

    private void Learn(JsonObject info)
    {
        Peer = PeerId.Parse((string)info["peer"]!);
        Addresses = [.. info["addresses"]!.AsArray().Select(a => Multiaddr.Parse((string)a!))];
    }

    private void Take(string? line)
    {
        if (line is null)
        {
            foreach (var waiting in _waiting.Values)
                waiting.TrySetException(new InvalidOperationException($"the js-libp2p node ended: {string.Join('\n', _complaints.TakeLast(10))}"));
            return;
        }

        var answer = JsonNode.Parse(line)!.AsObject();
        if (_waiting.TryRemove((int)answer["id"]!, out var asked))
            asked.TrySetResult(answer);
    }
}
