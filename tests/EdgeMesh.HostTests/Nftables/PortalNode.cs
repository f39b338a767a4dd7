using System.Diagnostics;
using System.Runtime.CompilerServices;
using Xunit;

namespace EdgeMesh.HostTests.Nftables;

/// <summary>A node, a client pod behind it, and a pod that has the addresses of all endpoints, each in a network namespace.</summary>
public sealed class PortalNode : IAsyncDisposable
{
    private static int lastNumber;

    private readonly string name = $"nftables-{Environment.ProcessId}-{Interlocked.Increment(ref lastNumber)}";
    private readonly List<Process> processes = [];

    public string Node => $"{name}-n";

    public string Client => $"{name}-c";

    public string Endpoints => $"{name}-e";

    private static string Here([CallerFilePath] string path = "") => Path.GetDirectoryName(path)!;

    public static string Fixture(string file) => Path.Combine(Here(), "..", "..", "fixtures", "kube-proxy", file);

    /// <param name="wired">With client and endpoints; else only an empty namespace.</param>
    public static async Task<PortalNode> StartAsync(bool wired = true)
    {
        var node = new PortalNode();
        await ShellAsync($"ip netns add {node.Node} && ip -n {node.Node} link set lo up");
        if (wired)
            await node.WireAsync();
        return node;
    }

    public static async Task<string> ShellAsync(string script, bool mayFail = false)
    {
        using var process = Start("sh", ["-e", "-c", script]);
        process.StandardInput.Close();
        var error = process.StandardError.ReadToEndAsync();
        var output = await process.StandardOutput.ReadToEndAsync();
        await process.WaitForExitAsync();
        Assert.True(mayFail || process.ExitCode == 0, $"{script}\n{await error}");
        return output;
    }

    public Task<string> OnNodeAsync(string command) => ShellAsync($"ip netns exec {Node} {command}");

    /// <summary>What each of the connections was answered: the endpoint's address, or the error's name.</summary>
    public static async Task<string[]> AskAsync(string from, string protocol, string address, int port, int count = 1, string source = "") =>
        (await ShellAsync($"ip netns exec {from} python3 {Here()}/node.py ask {protocol} {address} {port} {count} '{source}'"))
            .Split('\n', StringSplitOptions.RemoveEmptyEntries);

    public async Task ServeAsync(string where, params string[] addresses)
    {
        var process = Start("ip", ["netns", "exec", where, "python3", $"{Here()}/node.py", "serve", .. addresses]);
        processes.Add(process);
        Assert.Equal("ready", await process.StandardOutput.ReadLineAsync());
    }

    /// <summary>A connection that stays open; a line written comes back.</summary>
    public async Task<(Process Connection, string Endpoint)> HoldAsync(string from, string address, int port)
    {
        var process = Start("ip", ["netns", "exec", from, "python3", $"{Here()}/node.py", "hold", address, port.ToString()]);
        processes.Add(process);
        return (process, await process.StandardOutput.ReadLineAsync() ?? string.Empty);
    }

    public async ValueTask DisposeAsync()
    {
        foreach (var process in processes)
        {
            if (!process.HasExited)
                process.Kill(entireProcessTree: true);
            process.Dispose();
        }

        foreach (var space in new[] { Client, Endpoints, Node })
            await ShellAsync($"ip netns del {space}", mayFail: true);
    }

    private static Process Start(string program, IEnumerable<string> arguments) => Process.Start(new ProcessStartInfo(program, arguments)
    {
        UseShellExecute = false,
        RedirectStandardInput = true,
        RedirectStandardOutput = true,
        RedirectStandardError = true,
    })!;

    private async Task WireAsync()
    {
        await ShellAsync($"""
            ip netns add {Client}; ip netns add {Endpoints}
            for space in {Node} {Client} {Endpoints}; do ip netns exec $space sysctl -qw net.ipv6.conf.default.accept_dad=0; done
            ip link add cn netns {Client} type veth peer name nc netns {Node}
            ip link add en netns {Endpoints} type veth peer name ne netns {Node}
            ip netns exec {Node} sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1
            for space in {Client} {Endpoints}; do ip -n $space link set lo up; done
            ip -n {Node} link add edgemesh0 type bridge; ip -n {Node} link set edgemesh0 up
            ip -n {Node} addr add 169.254.96.16/32 dev edgemesh0
            ip -n {Node} addr add fd0e:6d65:7368::10/128 dev edgemesh0 nodad
            ip -n {Node} link set nc up; ip -n {Node} link set ne up; ip -n {Client} link set cn up; ip -n {Endpoints} link set en up
            ip -n {Node} addr add 10.245.0.1/24 dev nc; ip -n {Client} addr add 10.245.0.2/24 dev cn
            ip -n {Node} addr add fd45::1/64 dev nc nodad; ip -n {Client} addr add fd45::2/64 dev cn nodad
            ip -n {Node} addr add 10.246.0.1/24 dev ne; ip -n {Endpoints} addr add 10.246.0.2/24 dev en
            ip -n {Node} addr add fd46::1/64 dev ne nodad; ip -n {Endpoints} addr add fd46::2/64 dev en nodad
            ip -n {Client} route add default via 10.245.0.1; ip -n {Client} -6 route add default via fd45::1
            ip -n {Endpoints} route add default via 10.246.0.1; ip -n {Endpoints} -6 route add default via fd46::1
            ip -n {Node} route add 10.244.0.0/16 via 10.246.0.2; ip -n {Node} -6 route add fd44::/64 via fd46::2
            ip -n {Node} route add 10.96.0.0/16 dev nc; ip -n {Node} -6 route add fd10::/64 dev nc
            for a in 10.244.0.11 10.244.0.12 10.244.1.13 10.244.0.51 10.244.0.52 10.244.9.1 10.244.9.2; do ip -n {Endpoints} addr add $a/32 dev lo; done
            for a in fd44::1 fd44::2; do ip -n {Endpoints} addr add $a/128 dev lo nodad; done
            """);
        await ServeAsync(
            Endpoints,
            "tcp/10.244.0.11/8080", "tcp/10.244.0.12/8080", "tcp/10.244.1.13/8080",
            "tcp/10.244.9.1/80", "tcp/10.244.9.2/80", "udp/10.244.9.1/53", "udp/10.244.9.2/53",
            "tcp/fd44::1/80", "tcp/fd44::2/80", "udp/fd44::1/53");
        await ServeAsync(Node, "tcp/169.254.96.16/20007", "udp/169.254.96.16/20007", "tcp/fd0e:6d65:7368::10/20007");
    }
}
