using System.Collections.Concurrent;
using EdgeMesh.Testing.Lab;
using Xunit;

namespace EdgeMesh.HostTests;

/// <summary>Clients that open one connection after the other for as long as a test lasts. A connection that fails fails the
/// test, with the moment and the reason.</summary>
internal sealed class AskingClients : IAsyncDisposable
{
    private readonly CancellationTokenSource _enough = new();
    private readonly ConcurrentQueue<string> _failures = new();
    private readonly ConcurrentDictionary<int, int> _ports = new();
    private readonly Task _asking;

    private AskingClients(NamespaceLab lab, string target, string[] roles) =>
        _asking = Task.WhenAll(roles.Select(role => AskAsync(lab, role, target)));

    public int Answers => _ports.Values.Sum();

    public static AskingClients Start(NamespaceLab lab, string target, params string[] roles) => new(lab, target, roles);

    /// <summary>Ends them. Every connection was answered by way of <paramref name="by"/> and there were some.</summary>
    /// <returns>How many.</returns>
    public async Task<int> AllAnsweredAsync(params int[] by)
    {
        await _enough.CancelAsync();
        await _asking;
        Assert.Empty(_failures);
        Assert.NotEqual(0, Answers);
        Assert.Empty(_ports.Keys.Except(by));
        return Answers;
    }

    public async ValueTask DisposeAsync()
    {
        await _enough.CancelAsync();
        await _asking;
        _enough.Dispose();
    }

    private async Task AskAsync(NamespaceLab lab, string role, string target)
    {
        while (!_enough.IsCancellationRequested && _failures.Count < 10)
        {
            try
            {
                var answer = await lab.AskAsync(role, target, TimeSpan.FromSeconds(5));
                _ports.AddOrUpdate(answer.Port, 1, (_, count) => count + 1);
            }
            catch (Exception e) when (e is IOException or System.Net.Sockets.SocketException or TimeoutException or OperationCanceledException)
            {
                _failures.Enqueue($"{TimeProvider.System.GetUtcNow():HH:mm:ss.fff} {role} -> {target}: {e.Message}");
            }
        }
    }
}
