using EdgeMesh.Agent.Admin;
using System.Collections.Immutable;
using System.Net;
using EdgeMesh.Kubernetes.Access;
using EdgeMesh.Kubernetes.Api;
using EdgeMesh.Kubernetes.Yaml;
using EdgeMesh.Names;
using Microsoft.Extensions.Logging;

namespace EdgeMesh.Agent.Options;

/// <summary>Makes <see cref="AgentOptions"/> of what the user wrote, the command line and the environment, and checks what the
/// values mean together.</summary>
internal static class AgentOptionsResolver
{
    /// <returns>Null where a fault was found.</returns>
    public static AgentOptions? Resolve(AgentConfig config, AgentEnvironment environment, ConfigOverrides overrides, FindingList findings)
    {
        var kind = environment.Variable("KUBERNETES_PORT") is null ? NodeKind.Edge : NodeKind.Cloud;
        var nodeName = NodeName(environment, overrides, findings);
        var source = Source(config, kind, overrides, findings);
        CheckTogether(config, findings);
        ReferencedFiles.Check(config, source, findings);
        if (findings.HasFaults)
            return null;

        var maxConnections = config.Get(EdgeProxyKeys.MaxConnections);
        return new AgentOptions
        {
            ConfigFile = config.File,
            NodeName = nodeName,
            NodeKind = kind,
            Source = source,
            Qps = config.Get(KubeApiKeys.Qps),
            Burst = config.Get(KubeApiKeys.Burst),
            DeviceName = config.Get(CommonKeys.DeviceName),
            DeviceAddress = config.Get(CommonKeys.DeviceAddress),
            StateDirectory = config.Get(CommonKeys.StateDirectory),
            AdminAddress = config.Get(CommonKeys.AdminAddress),
            Admin = config.Get(CommonKeys.AdminSocket) is { Length: > 0 } socket
                ? new AdminEndpoint.UnixSocket(socket) : new AdminEndpoint.Tcp(config.Get(CommonKeys.AdminAddress)),
            LogLevel = overrides.Verbosity is >= 4 ? LogLevel.Debug : config.Get(CommonKeys.LogLevelKey),
            Proxy = new EdgeProxyOptions
            {
                Enable = config.Get(EdgeProxyKeys.ProxyEnable),
                FilterMode = config.Get(EdgeProxyKeys.FilterMode),
                ExcludeServices = Excluded(config),
                AddressKinds = config.Get(EdgeProxyKeys.TakenAddresses),
                ChainPrefix = config.Get(EdgeProxyKeys.Prefix),
                Backend = config.Get(EdgeProxyKeys.Backend),
                DataPath = config.Get(EdgeProxyKeys.Path),
                Balancing = config.Get(EdgeProxyKeys.Balancing),
                MasqueradeAll = config.Get(EdgeProxyKeys.MasqueradeAll),
                DetectLocal = config.Get(EdgeProxyKeys.DetectLocal),
                ClusterRanges = config.Get(EdgeProxyKeys.ClusterRanges),
                ListenPort = config.Get(EdgeProxyKeys.ListenPort),
                DrainTimeout = config.Get(EdgeProxyKeys.DrainTimeout),
                RuleLease = config.Get(EdgeProxyKeys.RuleLease),
                MaxConnections = maxConnections == 0 ? null : maxConnections,
                MaxPendingDials = config.Get(EdgeProxyKeys.MaxPendingDials),
                MaxUdpFlows = config.Get(EdgeProxyKeys.MaxUdpFlows),
            },
            Tunnel = Tunnel(config),
            Dns = Dns(config, kind, source),
        };
    }

    /// <summary>Whoever has the cluster's DNS asked by this node needs a way to it where there is no kube-proxy: then it is left alone only
    /// where the file says so.</summary>
    private static ImmutableArray<ObjectName> Excluded(AgentConfig config)
    {
        var excluded = config.Get(EdgeProxyKeys.ExcludeServices);
        return config.Get(EdgeDnsKeys.CacheEnable) && config.Get(EdgeDnsKeys.DnsEnable) != Switch.Off && !config.IsSet(EdgeProxyKeys.ExcludeServices)
            ? [.. excluded.Where(service => service.Namespace != "kube-system")]
            : excluded;
    }

    private static EdgeTunnelOptions Tunnel(AgentConfig config) => new()
    {
        Enable = config.Get(EdgeTunnelKeys.TunnelEnable) && config.Get(EdgeTunnelKeys.PskEnable),
        ListenPort = config.Get(EdgeTunnelKeys.ListenPort),
        RelayNodes = config.Get(EdgeTunnelKeys.RelayNodes),
        HeartbeatPeriod = TimeSpan.FromSeconds(config.Get(EdgeTunnelKeys.HeartbeatPeriod)),
        PskPath = config.Get(EdgeTunnelKeys.PskPath),
        AddressRanges = config.Get(EdgeTunnelKeys.AddressRanges),
        Limits = config.Get(EdgeTunnelKeys.LimitEnable)
            ? new EdgeTunnelLimits(
                config.Get(EdgeTunnelKeys.StreamsIn), config.Get(EdgeTunnelKeys.StreamsOut),
                config.Get(EdgeTunnelKeys.PeerStreamsIn), config.Get(EdgeTunnelKeys.PeerStreamsOut))
            : null,
        Devices = new DevicePattern(config.Get(EdgeTunnelKeys.ListenInterfaces), config.Get(EdgeTunnelKeys.FilteredInterfaces)),
    };

    private static string NodeName(AgentEnvironment environment, ConfigOverrides overrides, FindingList findings)
    {
        var (name, origin) = overrides.NodeName is { Length: > 0 } flag ? (flag, "--node-name")
            : environment.Variable("NODE_NAME") is { Length: > 0 } variable ? (variable, "the environment variable NODE_NAME")
            // kubelet lowers the host name too.
            : (environment.HostName.ToLowerInvariant(), "the host name");
        if (!KubernetesNames.IsSubdomain(name))
            findings.Fault(YamlMark.WholeFile, "", $"'{name}', from {origin}, cannot be the name of a node", "give the node's name in Kubernetes with --node-name");
        return name;
    }

    private static ClusterSource Source(AgentConfig config, NodeKind kind, ConfigOverrides overrides, FindingList findings)
    {
        var master = config.Get(KubeApiKeys.Master);
        var kubeConfig = config.Get(KubeApiKeys.KubeConfig);
        var manifests = config.Get(KubeApiKeys.Manifests);
        if (overrides.Manifests is { Length: > 0 } folder)
            return new ClusterSource.Manifests(Path.GetFullPath(folder));
        if (manifests.Length > 0)
        {
            if (master.Length > 0 || kubeConfig.Length > 0)
            {
                findings.Warn(config.MarkOf(KubeApiKeys.Manifests), KubeApiKeys.Manifests.Path,
                    "is the whole source, and master and kubeConfig are not looked at", "keep one of them");
            }

            return new ClusterSource.Manifests(manifests);
        }

        var metaServer = MetaServer(config);
        // Edge files of older releases name the metaServer as master.
        if (kubeConfig.Length == 0 && master.Length > 0 && (new Uri(master) == new Uri(metaServer.Server) || new Uri(master) == new Uri(metaServer.Address)))
            return new ClusterSource.MetaServer(metaServer);
        if (master.Length > 0 || kubeConfig.Length > 0)
            return new ClusterSource.ApiServer(master.Length > 0 ? new Uri(master) : null, kubeConfig.Length > 0 ? kubeConfig : null);
        return kind == NodeKind.Cloud ? new ClusterSource.InCluster() : new ClusterSource.MetaServer(metaServer);
    }

    private static MetaServerOptions MetaServer(AgentConfig config) => new()
    {
        Server = new Uri(config.Get(KubeApiKeys.MetaServer)).ToString(),
        RequireAuthorization = config.Get(KubeApiKeys.MetaServerAuthorization),
        InsecureSkipTlsVerify = config.Get(KubeApiKeys.MetaServerInsecure),
        TlsCaFile = config.Get(KubeApiKeys.MetaServerCa),
        TlsCertFile = config.Get(KubeApiKeys.MetaServerCertificate),
        TlsPrivateKeyFile = config.Get(KubeApiKeys.MetaServerKey),
    };

    /// <summary>Where the file does not say, it is on where the Go agent has it on: on edge nodes, whose pods ask it for every name.</summary>
    private static EdgeDnsOptions Dns(AgentConfig config, NodeKind kind, ClusterSource source) => new()
    {
        Enable = config.Get(EdgeDnsKeys.DnsEnable) switch
        {
            Switch.On => true,
            Switch.Off => false,
            _ => kind == NodeKind.Edge && source is ClusterSource.MetaServer,
        },
        ListenPort = config.Get(EdgeDnsKeys.ListenPort),
        ListenAddresses = config.Get(EdgeDnsKeys.ListenAddresses),
        AllowedClients = config.Get(EdgeDnsKeys.AllowedClients),
        Domains = config.Get(EdgeDnsKeys.Domains),
        ResolvConf = config.Get(EdgeDnsKeys.ResolvConf),
        CacheOnly = config.Get(EdgeDnsKeys.CacheEnable) ? TimeSpan.FromSeconds(config.Get(EdgeDnsKeys.CacheTtl)) : null,
        Upstream = new UpstreamRules
        {
            Servers = config.Get(config.Get(EdgeDnsKeys.CacheEnable) ? EdgeDnsKeys.CacheUpstreams : EdgeDnsKeys.Upstreams),
            StubDomains = config.Get(EdgeDnsKeys.StubDomains),
            FindClusterDns = config.Get(EdgeDnsKeys.CacheEnable) && config.Get(EdgeDnsKeys.AutoDetect),
        },
    };

    private static void CheckNames(AgentConfig config, FindingList findings)
    {
        if (config.Get(EdgeDnsKeys.DnsEnable) == Switch.Off)
            return;
        var port = config.Get(EdgeDnsKeys.ListenPort);
        if (port == config.Get(EdgeProxyKeys.ListenPort))
            findings.Fault(config.MarkOf(EdgeDnsKeys.ListenPort), EdgeDnsKeys.ListenPort.Path, $"port {port} is also {EdgeProxyKeys.ListenPort.Path}", "give them different ports");
        if (config.Get(EdgeDnsKeys.CacheEnable) && !config.Get(EdgeDnsKeys.AutoDetect) && config.Get(EdgeDnsKeys.CacheUpstreams).IsEmpty)
        {
            findings.Fault(config.MarkOf(EdgeDnsKeys.CacheEnable), EdgeDnsKeys.CacheEnable.Path,
                "keeps answers of nobody: autoDetect is false, and upstreamServers is empty", $"write 'autoDetect: true', or name the cluster's DNS in {EdgeDnsKeys.CacheUpstreams.Path}");
        }

        if (config.Get(EdgeDnsKeys.CacheEnable) && !config.Get(EdgeDnsKeys.Upstreams).IsEmpty)
            findings.Warn(config.MarkOf(EdgeDnsKeys.Upstreams), EdgeDnsKeys.Upstreams.Path, $"is not looked at while {EdgeDnsKeys.CacheEnable.Path} is true", $"write them to {EdgeDnsKeys.CacheUpstreams.Path}");
        foreach (var address in config.Get(EdgeDnsKeys.ListenAddresses).Where(address => address.Equals(IPAddress.Any) || address.Equals(IPAddress.IPv6Any)))
        {
            findings.Fault(config.MarkOf(EdgeDnsKeys.ListenAddresses), EdgeDnsKeys.ListenAddresses.Path,
                $"{address} would take the port on every address, and other resolvers of this node have it on theirs", "name addresses of this node one by one");
        }
    }

    private static void CheckTunnel(AgentConfig config, FindingList findings)
    {
        var relays = config.Get(EdgeTunnelKeys.RelayNodes);
        if (!config.Get(EdgeTunnelKeys.TunnelEnable))
        {
            // They matter from the day on which somebody switches the tunnel on.
            foreach (var relay in relays.SelectMany(relay => relay.Faults))
                findings.Warn(relay.Mark, EdgeTunnelKeys.RelayNodes.Path, relay.What, relay.Remedy);
            return;
        }

        foreach (var fault in relays.SelectMany(relay => relay.Faults))
            findings.Fault(fault.Mark, EdgeTunnelKeys.RelayNodes.Path, fault.What, fault.Remedy);
        if (config.Get(EdgeTunnelKeys.Transport) != TunnelTransport.Tcp)
        {
            findings.Fault(config.MarkOf(EdgeTunnelKeys.Transport), EdgeTunnelKeys.Transport.Path,
                $"{config.TextOf(EdgeTunnelKeys.Transport)} is not built; this release carries the tunnel over TCP only", "write tcp, on every node");
        }

        if (config.Get(EdgeTunnelKeys.Identity) != TunnelIdentity.Psk)
            findings.Fault(config.MarkOf(EdgeTunnelKeys.Identity), EdgeTunnelKeys.Identity.Path, "edgemesh is not built yet", "write psk, on every node");
        if (!config.Get(EdgeTunnelKeys.PskEnable))
        {
            findings.Warn(config.MarkOf(EdgeTunnelKeys.PskEnable), EdgeTunnelKeys.PskEnable.Path,
                "is false, so the tunnel stays off: the PSK is what nodes know each other by", "write true, and give every node the same PSK file");
        }

        foreach (var relay in relays.Where(relay => relay.AdvertiseAddress.IsEmpty && relay.NodeName.Length > 0))
        {
            findings.Warn(config.MarkOf(EdgeTunnelKeys.RelayNodes), EdgeTunnelKeys.RelayNodes.Path,
                $"{relay.NodeName} has no advertiseAddress, so nobody can reach it from elsewhere", "write nodeName and advertiseAddress");
        }
    }

    private static void CheckTogether(AgentConfig config, FindingList findings)
    {
        CheckTunnel(config, findings);
        CheckNames(config, findings);
        var admin = config.Get(CommonKeys.AdminAddress);
        var mark = config.MarkOf(CommonKeys.AdminAddress);
        var inPlace = config.Get(CommonKeys.AdminSocket).Length > 0;
        if (inPlace && config.IsSet(CommonKeys.AdminAddress))
        {
            findings.Warn(mark, CommonKeys.AdminAddress.Path, $"is not looked at: {CommonKeys.AdminSocket.Path} takes its place", "keep one of them");
        }
        else if (!inPlace && !IPAddress.IsLoopback(admin.Address))
        {
            findings.Warn(mark, CommonKeys.AdminAddress.Path, $"{admin} can be reached from outside this node, and tells the names of all services to whoever asks",
                "choose 127.0.0.1, or keep strangers away with a firewall");
        }

        var shared = admin.Address.Equals(IPAddress.Any) || admin.Address.Equals(IPAddress.IPv6Any) || admin.Address.Equals(config.Get(CommonKeys.DeviceAddress));
        if (config.Get(EdgeTunnelKeys.TunnelEnable) && config.Get(EdgeTunnelKeys.ListenPort) == config.Get(EdgeProxyKeys.ListenPort))
        {
            findings.Fault(config.MarkOf(EdgeTunnelKeys.ListenPort), EdgeTunnelKeys.ListenPort.Path,
                $"port {config.Get(EdgeTunnelKeys.ListenPort)} is also {EdgeProxyKeys.ListenPort.Path}", "give them different ports");
        }

        if (!inPlace && shared && admin.Port == config.Get(EdgeProxyKeys.ListenPort))
            findings.Fault(mark, CommonKeys.AdminAddress.Path, $"port {admin.Port} is also {EdgeProxyKeys.ListenPort.Path}", "give them different ports");

        if (config.Get(KubeApiKeys.Burst) < config.Get(KubeApiKeys.Qps) && (config.IsSet(KubeApiKeys.Burst) || config.IsSet(KubeApiKeys.Qps)))
            findings.Warn(config.MarkOf(KubeApiKeys.Burst), KubeApiKeys.Burst.Path, "is lower than qps, so qps is never reached", "make it qps or more");

        // After a fault the value may be the user's slip, and not the user's choice.
        if (!config.Get(EdgeProxyKeys.ProxyEnable) && !findings.HasFaults)
            findings.Warn(config.MarkOf(EdgeProxyKeys.ProxyEnable), EdgeProxyKeys.ProxyEnable.Path, "is false, so no service is handled", "write 'enable: true' below modules.edgeProxy");

        if (!config.Get(EdgeProxyKeys.ExcludeServices).Contains(new("default", "kubernetes")))
        {
            findings.Warn(config.MarkOf(EdgeProxyKeys.ExcludeServices), EdgeProxyKeys.ExcludeServices.Path,
                "does not hold default/kubernetes: the agent will carry the node's connections to the API server, its own too", "add '- default/kubernetes'");
        }
    }
}
