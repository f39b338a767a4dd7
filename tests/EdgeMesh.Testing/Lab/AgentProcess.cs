using System.Net;
using System.Net.Sockets;

namespace EdgeMesh.Testing.Lab;

/// <summary>The real agent program, running on the lab's node.</summary>
public sealed class AgentProcess : IAsyncDisposable
{
    private readonly NetworkNamespace _node;
    private readonly HttpClient _admin;

    internal AgentProcess(NetworkNamespace node, LabProcess process)
    {
        _node = node;
        Process = process;
        _admin = new HttpClient(new SocketsHttpHandler { ConnectCallback = ConnectAsync, PooledConnectionLifetime = TimeSpan.Zero })
        {
            BaseAddress = new Uri("http://127.0.0.1:9999"),
            Timeout = TimeSpan.FromSeconds(5).Here(),
        };
    }

    public LabProcess Process { get; }

    public int Id => Process.Id;

    public string Log => Process.Log;

    public ProcessFacts Facts => Process.Facts;

    /// <summary>SIGTERM; returns the exit status.</summary>
    public Task<int> StopAsync(TimeSpan? deadline = null) => Process.StopAsync(deadline);

    public Task KillAsync() => Process.KillAsync();

    public void Pause() => Process.Pause();

    public void Resume() => Process.Resume();

    /// <summary>GET on the admin address, which is a loopback address inside the node's namespace.</summary>
    public async Task<(int Status, string Body)> GetAsync(string path)
    {
        using var response = await _admin.GetAsync(path);
        return ((int)response.StatusCode, await response.Content.ReadAsStringAsync());
    }

    /// <summary>The sum of a metric over all its labels, or over those whose text contains <paramref name="labels"/>; 0 when it is absent.</summary>
    public async Task<double> MetricAsync(string name, string labels = "")
    {
        var (_, text) = await GetAsync("/metrics");
        return text.Split('\n')
            .Where(line => line.StartsWith(name + "{", StringComparison.Ordinal) || line.StartsWith(name + " ", StringComparison.Ordinal))
            .Where(line => line.Contains(labels, StringComparison.Ordinal))
            .Sum(line => double.Parse(line[(line.LastIndexOf('}') is var brace and >= 0 ? brace + 1 : name.Length)..].Trim().Split(' ')[0], System.Globalization.CultureInfo.InvariantCulture));
    }

    public async Task UntilReadyAsync(TimeSpan deadline)
    {
        try
        {
            await Eventually.SeesAsync(
                async () => Process.HasExited ? (Status: -1, Body: "") : await GetAsync("/readyz"),
                seen => seen.Status is 200 or -1,
                deadline,
                "GET /readyz answers 200");
        }
        catch (TimeoutException e)
        {
            throw new TimeoutException($"{e.Message}\nThe agent's log:\n{Log}", e);
        }

        if (Process.HasExited)
            throw new InvalidOperationException($"The agent ended with {Process.ExitCode} before it was ready. Its log:\n{Log}");
    }

    public async ValueTask DisposeAsync()
    {
        _admin.Dispose();
        await Process.DisposeAsync();
    }

    private async ValueTask<Stream> ConnectAsync(SocketsHttpConnectionContext context, CancellationToken cancellationToken)
    {
        var socket = _node.NewSocket(AddressFamily.InterNetwork, SocketType.Stream);
        try
        {
            await socket.ConnectAsync(new IPEndPoint(IPAddress.Loopback, context.DnsEndPoint.Port), cancellationToken);
            return new NetworkStream(socket, ownsSocket: true);
        }
        catch
        {
            socket.Dispose();
            throw;
        }
    }
}
