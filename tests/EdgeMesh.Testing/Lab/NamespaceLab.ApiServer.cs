using System.Net;
using EdgeMesh.Testing.ApiServer;
using Microsoft.AspNetCore.Server.Kestrel.Transport.Sockets;

namespace EdgeMesh.Testing.Lab;

public sealed partial class NamespaceLab
{
    /// <summary>Where <see cref="StartApiServerAsync"/> listens: on the machine outside, since 6443 there is a pod's server.</summary>
    public const int ApiServerPort = 16_443;

    public const int MetaServerPort = 10_550;

    /// <summary>An API server that the node reaches over its uplink. It runs in this process; only its socket is outside.</summary>
    public Task<TestApiServer> StartApiServerAsync(TestApiServerOptions? options = null) =>
        StartServerAsync("outside", (options ?? new()) with { Address = IPAddress.Parse(LabAddresses.Outside), Port = ApiServerPort });

    /// <summary>A metaServer on the node's loopback, as KubeEdge has it.</summary>
    public Task<TestApiServer> StartMetaServerAsync(TestApiServerOptions? options = null) =>
        StartServerAsync("node", (options ?? new()) with { MetaServer = true, Address = IPAddress.Loopback, Port = MetaServerPort });

    private async Task<TestApiServer> StartServerAsync(string role, TestApiServerOptions options)
    {
        // An accepted socket belongs to the namespace of the one that listens, whichever thread accepts it.
        var space = this[role];
        return OwnedByLab(await TestApiServer.StartAsync(options with { Bind = endpoint => space.Run(() => SocketTransportOptions.CreateDefaultBoundListenSocket(endpoint)) }));
    }
}
