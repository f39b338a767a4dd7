using System.Collections.Frozen;
using System.Collections.Immutable;
using System.Net;
using System.Net.Sockets;
using EdgeMesh.Agent.Options;
using EdgeMesh.Catalog;
using EdgeMesh.Linux;
using EdgeMesh.Linux.Netlink;
using EdgeMesh.Net;

namespace EdgeMesh.Agent.Hosting;

/// <summary>Which addresses of this node services may not be caught at or lead to: from the kernel's list of addresses, the
/// options, and the place where the API is asked.</summary>
internal sealed class AddressesToProtect(AgentOptions options, Func<string?> apiServer, Func<string, CancellationToken, Task<IPAddress[]>> resolve)
{
    // kube-proxy in IPVS mode gives the node every cluster IP on this device; they are services' addresses and not the node's.
    private const string IpvsDevice = "kube-ipvs0";

    private static readonly TimeSpan ResolveDeadline = TimeSpan.FromSeconds(2);

    private ImmutableArray<InetEndpoint> _resolved = [];

    /// <summary>Pure: what follows from the node's addresses.</summary>
    public static ProtectedAddresses Of(AgentOptions options, ImmutableArray<NodeAddress> addresses, ImmutableArray<InetEndpoint> controlPlane)
    {
        var own = addresses.Where(a => a.Device != IpvsDevice).ToImmutableArray();
        return new ProtectedAddresses
        {
            Own = own.Select(a => a.Address).ToFrozenSet(),
            Broadcast = own.Where(a => a is { PrefixLength: > 0 and < 31, Address.IsIPv6: false })
                .Select(a => a.Address with { Bits = a.Address.Bits | (uint.MaxValue >> a.PrefixLength) }).ToFrozenSet(),
            Listeners = ListenerAddresses.Of(options.DeviceAddress).ToFrozenSet(),
            ControlPlane = controlPlane.ToFrozenSet(),
            AgentPorts = options.Tunnel.Enable
                ? [(ushort)options.AdminAddress.Port, (ushort)options.Tunnel.ListenPort]
                : [(ushort)options.AdminAddress.Port],
        };
    }

    /// <summary>As it is now. What cannot be found out at the moment stays as it was.</summary>
    /// <exception cref="NetlinkException">The kernel did not list the addresses.</exception>
    public async Task<ProtectedAddresses> LookAsync(CancellationToken cancellationToken)
    {
        var addresses = NodeAddresses.List();
        if (apiServer() is { } text && Uri.TryCreate(text, UriKind.Absolute, out var server))
            _resolved = await ResolveAsync(server, cancellationToken) ?? _resolved;
        return Of(options, addresses, _resolved);
    }

    private async Task<ImmutableArray<InetEndpoint>?> ResolveAsync(Uri server, CancellationToken cancellationToken)
    {
        var port = (ushort)server.Port;
        if (InetAddress.TryParse(server.IdnHost.Trim('[', ']'), out var literal))
            return [new InetEndpoint(literal, port)];
        try
        {
            using var deadline = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
            deadline.CancelAfter(ResolveDeadline);
            return [.. (await resolve(server.IdnHost, deadline.Token)).Select(address => new InetEndpoint(InetAddress.From(address), port))];
        }
        catch (Exception fault) when (fault is SocketException or ArgumentException || (fault is OperationCanceledException && !cancellationToken.IsCancellationRequested))
        {
            return null;
        }
    }
}
