using EdgeMesh.Netfilter;
using EdgeMesh.Testing.Lab;
using CommandResult = EdgeMesh.Netfilter.CommandResult;

namespace EdgeMesh.HostTests.Netfilter.Iptables;

/// <summary>The machine's commands, run in a network namespace of their own.</summary>
internal sealed class NamespaceCommands : ICommands, IAsyncDisposable
{
    private static int count;

    private readonly HostCommands host = new(TimeProvider.System);
    private NetworkNamespace? space;
    private readonly string name = $"em-ipt-{Environment.ProcessId}-{Interlocked.Increment(ref count)}";

    public async Task CreateAsync()
    {
        var made = await host.RunAsync("ip", ["netns", "add", name], input: null, TimeSpan.FromSeconds(10), CancellationToken.None);
        if (made.ExitCode != 0)
            throw new InvalidOperationException($"These tests need root and network namespaces: `ip netns add {name}` said: {made.Error}");
        space = new NetworkNamespace(name);
    }

    public bool Exists(string command) => host.Exists(command);

    public Task<CommandResult> RunAsync(
        string command, IReadOnlyList<string> arguments, IEnumerable<ReadOnlyMemory<char>>? input, TimeSpan deadline, CancellationToken cancellationToken) =>
        // A program belongs to the namespace of the thread that starts it, and it is started before anything is awaited.
        space!.Run(() => host.RunAsync(command, arguments, input, deadline, cancellationToken));

    public async Task<IReadOnlyList<string>?> ReadProcAsync(string path, CancellationToken cancellationToken)
    {
        var read = await RunAsync("cat", [path], input: null, TimeSpan.FromSeconds(10), cancellationToken);
        return read.ExitCode == 0 ? read.Output.Split('\n', StringSplitOptions.RemoveEmptyEntries) : null;
    }

    public async ValueTask DisposeAsync()
    {
        space?.Dispose();
        await host.RunAsync("ip", ["netns", "del", name], input: null, TimeSpan.FromSeconds(10), CancellationToken.None);
    }
}
