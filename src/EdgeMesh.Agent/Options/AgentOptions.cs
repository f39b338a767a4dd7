using System.Collections.Immutable;
using System.Net;
using EdgeMesh.Agent.Admin;
using EdgeMesh.Catalog;
using EdgeMesh.Forwarding;
using EdgeMesh.Hosts;
using EdgeMesh.Kubernetes.Access;
using EdgeMesh.Kubernetes.Api;
using EdgeMesh.Names;
using EdgeMesh.Netfilter.Iptables;
using EdgeMesh.Planning;
using Microsoft.Extensions.Logging;

namespace EdgeMesh.Agent.Options;

/// <summary>What the program goes by: validated, immutable, nothing left to find out.</summary>
internal sealed record AgentOptions
{
    public required string ConfigFile { get; init; }

    public required string NodeName { get; init; }

    public required NodeKind NodeKind { get; init; }

    public required ClusterSource Source { get; init; }

    /// <summary>Requests a second, and at once, to whoever answers for the API.</summary>
    public required int Qps { get; init; }

    public required int Burst { get; init; }

    public required string DeviceName { get; init; }

    public required IPAddress DeviceAddress { get; init; }

    public required string StateDirectory { get; init; }

    public required IPEndPoint AdminAddress { get; init; }

    /// <summary>Where probes, metrics and status are answered: <see cref="AdminAddress"/>, or a socket in place of it.</summary>
    public required AdminEndpoint Admin { get; init; }

    public required LogLevel LogLevel { get; init; }

    public required EdgeProxyOptions Proxy { get; init; }

    public required EdgeTunnelOptions Tunnel { get; init; }

    public required EdgeDnsOptions Dns { get; init; }
}

internal sealed record EdgeProxyOptions
{
    public required bool Enable { get; init; }

    public required ServiceFilterMode FilterMode { get; init; }

    public required ImmutableArray<ObjectName> ExcludeServices { get; init; }

    public required AddressKinds AddressKinds { get; init; }

    public required ChainPrefix ChainPrefix { get; init; }

    public required RuleBackend Backend { get; init; }

    public required DataPath DataPath { get; init; }

    public required BalancingPolicy Balancing { get; init; }

    public required bool MasqueradeAll { get; init; }

    public required LocalDetection DetectLocal { get; init; }

    public required ImmutableArray<IPNetwork> ClusterRanges { get; init; }

    public required int ListenPort { get; init; }

    public required TimeSpan DrainTimeout { get; init; }

    public required TimeSpan RuleLease { get; init; }

    /// <summary>Null: as many as the descriptor limit allows.</summary>
    public required int? MaxConnections { get; init; }

    public required int MaxPendingDials { get; init; }

    public required int MaxUdpFlows { get; init; }
}

internal sealed record EdgeTunnelOptions
{
    /// <summary>True only where nodes can know each other: with a PSK.</summary>
    public required bool Enable { get; init; }

    public required int ListenPort { get; init; }

    public required ImmutableArray<RelayNode> RelayNodes { get; init; }

    public required TimeSpan HeartbeatPeriod { get; init; }

    public required string PskPath { get; init; }

    public required ImmutableArray<IPNetwork> AddressRanges { get; init; }

    /// <summary>Null: the tunnel's own bounds.</summary>
    public required EdgeTunnelLimits? Limits { get; init; }

    public required DevicePattern Devices { get; init; }
}

internal sealed record EdgeDnsOptions
{
    public required bool Enable { get; init; }

    public required int ListenPort { get; init; }

    /// <summary>Beside those of the device.</summary>
    public required ImmutableArray<IPAddress> ListenAddresses { get; init; }

    public required ImmutableArray<IPNetwork> AllowedClients { get; init; }

    public required ImmutableArray<string> Domains { get; init; }

    public required UpstreamRules Upstream { get; init; }

    public required string ResolvConf { get; init; }

    /// <summary>Null: names are answered here, and what upstream says is kept as long as it says.</summary>
    public required TimeSpan? CacheOnly { get; init; }
}

internal sealed record EdgeTunnelLimits(int StreamsIn, int StreamsOut, int PeerStreamsIn, int PeerStreamsOut);

/// <summary>Who says what exists.</summary>
internal abstract record ClusterSource
{
    private ClusterSource()
    {
    }

    /// <summary>For people.</summary>
    public abstract string Description { get; }

    public sealed record Manifests(string Folder) : ClusterSource
    {
        public override string Description => $"manifests in {Folder}";
    }

    /// <param name="Master">Null: the address in the kubeconfig.</param>
    /// <param name="KubeConfig">Null: no credentials.</param>
    public sealed record ApiServer(Uri? Master, string? KubeConfig) : ClusterSource
    {
        public override string Description => (Master, KubeConfig) switch
        {
            (null, _) => $"API server of kubeconfig {KubeConfig}",
            (_, null) => $"API server {Master}",
            _ => $"API server {Master} with kubeconfig {KubeConfig}",
        };
    }

    public sealed record InCluster : ClusterSource
    {
        public override string Description => "API server of this cluster, with the pod's service account";
    }

    public sealed record MetaServer(MetaServerOptions Options) : ClusterSource
    {
        public override string Description => $"metaServer {new Uri(Options.Address)}";
    }
}
