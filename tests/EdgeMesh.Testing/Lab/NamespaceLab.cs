using System.Net;
using System.Net.Sockets;

namespace EdgeMesh.Testing.Lab;

/// <summary>A node with real netfilter rules, a client pod, two backend pods and a machine outside, all of network namespaces.
/// <code>
///   client 10.244.0.100 ─┐
///   a      10.244.0.11 … ┼─ node (10.244.0.1, 10.200.0.2) ─ outside (10.200.0.1, 10.244.1.13)
///   b      10.244.0.12 … ┘
/// </code>
/// <see cref="LabOptions.Host"/> says how: pods routed one by one, or on one bridge; and what else the node is like.</summary>
public sealed partial class NamespaceLab : IAsyncDisposable
{
    private readonly Dictionary<string, NetworkNamespace> _namespaces = new(StringComparer.Ordinal);
    private readonly List<IAsyncDisposable> _running = [];

    private readonly string[] _roles;

    private NamespaceLab(string name, LabHost host)
    {
        Name = name;
        Host = host;
        _roles = host.HasLan ? ["node", "client", "a", "b", "outside", "lan"] : ["node", "client", "a", "b", "outside"];
        Folder = Directory.CreateTempSubdirectory(name + "-").FullName;
    }

    public string Name { get; }

    public LabHost Host { get; }

    /// <summary>Files of this lab; removed with it.</summary>
    public string Folder { get; }

    public NetworkNamespace Node => this["node"];

    public NetworkNamespace Client => this["client"];

    public NetworkNamespace this[string role] => _namespaces[role];

    public static async Task<NamespaceLab> CreateAsync(LabOptions? options = null)
    {
        options ??= new LabOptions();
        await LabRequirements.CheckAsync();
        await LabLeftovers.RemoveAsync();
        var lab = new NamespaceLab(LabLeftovers.NewName(), options.Host);
        try
        {
            await lab.BuildAsync();
            await lab.RaiseFirewallAsync(options.Host.Firewall, options.KubeProxy == KubeProxyRules.IptablesLegacy ? IptablesVariant.Legacy : IptablesVariant.Nft);
            await (options.KubeProxyServices.Count == 0 ? lab.StartKubeProxyAsync(options.KubeProxy) : lab.StartKubeProxyAsync(options.KubeProxy, options.KubeProxyServices));
            if (options.PodServers)
                lab.StartPodServers();
            return lab;
        }
        catch
        {
            await lab.DisposeAsync();
            throw;
        }
    }

    /// <summary>Runs a program inside, to its end. What mounts something has to make a mount namespace for it.</summary>
    /// <param name="role">node, client, a, b, outside, or lan where the lab has one.</param>
    public Task<CommandResult> RunAsync(string role, string file, params string[] arguments) =>
        CommandResult.RunAsync(file, arguments, inside: this[role], environment: OwnLock(Folder));

    public Task<CommandResult> RunWithInputAsync(string role, string input, string file, params string[] arguments) =>
        CommandResult.RunAsync(file, arguments, input, inside: this[role], environment: OwnLock(Folder));

    /// <summary>Starts a program inside that ends with the lab.</summary>
    public LabProcess Start(string role, string file, params string[] arguments) =>
        OwnedByLab(new LabProcess(this[role].Name, file, arguments, OwnLock(Folder)));

    /// <summary>The programs of iptables-legacy on one machine wait for each other at a file; the nodes of labs are machines of their own.</summary>
    internal static Dictionary<string, string?> OwnLock(string folder) => new() { ["XTABLES_LOCKFILE"] = Path.Combine(folder, "xtables.lock") };

    /// <summary>Opens a TCP connection from inside; the deadline is 10 s unless told.</summary>
    /// <param name="target">Such as <c>10.96.10.1:80</c> or <c>[fd00:10:96::1]:80</c>.</param>
    public async Task<Socket> ConnectAsync(string role, string target, TimeSpan? deadline = null)
    {
        var endpoint = IPEndPoint.Parse(target);
        var socket = this[role].NewSocket(endpoint.AddressFamily, SocketType.Stream);
        try
        {
            using var timeout = new CancellationTokenSource((deadline ?? TimeSpan.FromSeconds(10)).Here());
            await socket.ConnectAsync(endpoint, timeout.Token);
            return socket;
        }
        catch (OperationCanceledException e)
        {
            socket.Dispose();
            throw new TimeoutException($"No connection from {role} to {target} in time.", e);
        }
        catch
        {
            socket.Dispose();
            throw;
        }
    }

    /// <summary>Ends every program, then removes the namespaces; what cannot be removed does not hide a test's failure.</summary>
    public async ValueTask DisposeAsync()
    {
        for (var i = _running.Count - 1; i >= 0; i--)
            await _running[i].DisposeAsync();
        _running.Clear();
        foreach (var each in _namespaces.Values)
            each.Dispose();
        await LabLeftovers.RemoveNamespacesAsync(_namespaces.Values);
        if (Directory.Exists(Folder))
            Directory.Delete(Folder, recursive: true);
    }

    private T OwnedByLab<T>(T running)
        where T : IAsyncDisposable
    {
        _running.Add(running);
        return running;
    }
}
