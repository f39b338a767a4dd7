using System.Collections.Immutable;
using EdgeMesh.Agent.Admin;
using EdgeMesh.Agent.Hosting.Tunnel;
using EdgeMesh.Agent.Options;
using EdgeMesh.Catalog;
using EdgeMesh.Forwarding;
using EdgeMesh.Forwarding.Udp;
using EdgeMesh.Hosts;
using EdgeMesh.Kubernetes;
using EdgeMesh.Net;
using EdgeMesh.Netfilter;
using EdgeMesh.Planning;
using EdgeMesh.Reconciling;
using EdgeMesh.Tunnel;

namespace EdgeMesh.Agent.Hosting;

/// <summary>Puts what the parts of the agent know into one document. Reads only.</summary>
internal sealed class StatusBuilder(
    AgentOptions options,
    Func<ChosenBackend> chosen,
    Func<ImmutableArray<string>> notices,
    Func<HostCarriages> host,
    IClusterSource source,
    Reconciler reconciler,
    TcpForwarder tcp,
    UdpForwarder udp,
    Func<MeshStatus?> mesh,
    Func<NamesStatus?> names,
    long startedAt,
    TimeProvider time)
{
    /// <summary>Looking at the rules starts programs. Between changes of our own only other programs move them, and the order
    /// guard is the one that has to notice at once.</summary>
    private static readonly TimeSpan LookAtRulesAgain = TimeSpan.FromSeconds(5);

    private Looked? _looked;

    private sealed record Traffic(long Active, long Total);

    private sealed record Looked(ImmutableArray<JumpPosition> Jumps, string? Fault, long At, (DateTimeOffset?, long) State);

    public async Task<StatusDocument> BuildAsync(string phase, CancellationToken cancellationToken)
    {
        var state = reconciler.State;
        var rules = chosen();
        var looked = await LookAsync(state, cancellationToken);
        var fault = state.Fault ?? looked.Fault;
        var traffic = ReadTraffic();
        var peers = mesh();
        var ways = peers is null ? null : new EndpointWayWords(peers, state.Reachability);
        return new StatusDocument
        {
            Version = AgentVersion.Text,
            Node = new NodeStatus
            {
                Name = options.NodeName,
                Edge = options.NodeKind == NodeKind.Edge,
                StartedAt = DateOf(startedAt),
                Phase = phase,
                Notices = notices(),
            },
            Source = Source(state.Facts),
            Rules = new RulesStatus
            {
                Backend = rules.Choice.Name,
                Reason = rules.Choice.Reason,
                Enabled = options.Proxy.Enable,
                InForce = state is { LastSync: not null, Withdrawn: false } && fault is null,
                Fault = fault,
                LastSync = state.LastSync,
                LastSyncMilliseconds = state.LastSyncDuration.TotalMilliseconds,
                OrderRepairs = state.OrderRepairs,
                LastRepair = state.LastRepair,
                RecentRepairs = state.RecentRepairs,
                DirectChanges = rules.Direct?.Applied,
                DirectChangesRefused = rules.Direct?.Refused,
                Jumps = [.. looked.Jumps.Select(jump => new JumpStatus
                {
                    Family = jump.Family.ToString(),
                    Hook = jump.HookChain,
                    Chain = jump.PortalChain,
                    Position = jump.Position,
                    Detail = jump.Detail,
                })],
            },
            DataPath = DataPath(),
            Host = options.Proxy.Enable ? [.. rules.Backend.Families.Select(family => Host(family, host().Of(family)))] : [],
            Names = names(),
            Tunnel = peers is null ? null : TunnelStatusWords.Of(peers, state.Reachability),
            Services = [.. state.Plan.Services.Select(service => Service(service, traffic, ways))],
        };
    }

    private async Task<Looked> LookAsync(ReconcilerState state, CancellationToken cancellationToken)
    {
        var now = (state.LastSync, state.OrderRepairs);
        if (_looked is { } last && last.State == now && time.GetElapsedTime(last.At) < LookAtRulesAgain)
            return last;
        try
        {
            return _looked = new Looked(await chosen().Backend.InspectAsync(cancellationToken), null, time.GetTimestamp(), now);
        }
        catch (NetfilterException unreadable)
        {
            return _looked = new Looked([], unreadable.Message, time.GetTimestamp(), now);
        }
    }

    private static HostFamilyStatus Host(IpFamily family, HostCarriage carriage) => new()
    {
        Family = family.ToString(),
        Code = carriage.Code.ToString(),
        Sentence = carriage.Sentence,
        Masquerade = carriage.Masquerade switch
        {
            { All: true } => "everything",
            { DependsOnAddresses: false } => "what comes back to where it left",
            { Local.IsEmpty: true } => "everything: the addresses of this node's pods are not known",
            var some => $"all but {string.Join(", ", some.Local)}",
        },
    };

    private SourceStatus Source(ClusterFacts? facts) => new()
    {
        Description = source.Description,
        Origin = facts?.Origin switch
        {
            FactsOrigin.Live when source.Health.UnreachableSince is not null => "unreachable",
            FactsOrigin.Live when source.Health.Offline => "offline",
            FactsOrigin.Live => "live",
            FactsOrigin.Cache => "cache",
            _ => "none",
        },
        AsOf = facts?.Arrived is { } arrived ? DateOf(arrived) : facts?.AsOf,
        Stale = source.Health.Stale,
        Kinds = [.. source.Health.Kinds.Select(kind => new SourceKindStatus
        {
            Kind = kind.Kind,
            Synced = kind.Synced,
            LastSuccess = kind.LastSuccess is { } heard ? DateOf(heard) : null,
            Fault = kind.Fault,
        })],
        Notices = [.. source.Health.Expiries.Select(expiry => expiry.NoticeAt(time.GetUtcNow())).Append(source.Health.ClockNotice).OfType<string>()],
    };

    /// <summary>By the wall clock as it is now: it may have been put right since, and ages are told from the difference.</summary>
    private DateTimeOffset DateOf(long timestamp) => time.GetUtcNow() - time.GetElapsedTime(timestamp);

    private DataPathStatus DataPath()
    {
        var connections = tcp.ReadStatistics();
        var flows = udp.Statistics();
        long Refused(RefusalReason reason) => connections.Refused[(int)reason];
        var shed = Refused(RefusalReason.ConnectionLimit) + Refused(RefusalReason.DialLimit) + Refused(RefusalReason.DescriptorLimit);
        return new DataPathStatus
        {
            Listener = string.Join(", ", tcp.Listeners),
            ActiveConnections = connections.Active,
            TotalConnections = connections.Accepted,
            ActiveFlows = flows.FlowsActive,
            TotalFlows = flows.FlowsOpened,
            Refused = connections.Refused.Sum() - shed,
            Shed = shed + flows.Dropped[(int)UdpDropReason.DescriptorLimit],
            DialFailures = connections.DialFailures.Sum(),
        };
    }

    private Dictionary<ServicePortName, Traffic> ReadTraffic()
    {
        var traffic = new Dictionary<ServicePortName, Traffic>();
        foreach (var service in tcp.ReadServices())
            traffic[service.Service] = new Traffic(service.Active, service.Connections);
        foreach (var service in udp.ServiceStatistics())
            traffic[service.Service] = new Traffic(service.Active, service.Flows);
        return traffic;
    }

    private static ServiceStatus Service(PlannedService service, Dictionary<ServicePortName, Traffic> traffic, EndpointWayWords? ways) => new()
    {
        Name = service.Service.Name.ToString(),
        Handled = service.Service.Handling == Handling.Handled,
        Reason = Words(service.Service.Handling),
        Faults = service.Service.Faults,
        Ports = [.. service.Ports.Select(port => Port(port, traffic.GetValueOrDefault(port.Port.Name), ways))],
    };

    private static ServicePortStatus Port(PlannedPort port, Traffic? traffic, EndpointWayWords? ways) => new()
    {
        Name = port.Port.Name.ToString(),
        Protocol = port.Port.Name.Protocol.ToString().ToLowerInvariant(),
        Address = port.CaughtAt.Endpoint.ToString(),
        Kind = port.Address.Kind switch
        {
            CatchKind.ClusterIP => "clusterIP",
            CatchKind.ExternalIP => "externalIP",
            CatchKind.LoadBalancerIP => "loadBalancerIP",
            _ => "nodePort",
        },
        Path = port.Path switch
        {
            ForwardingPath.Listener => "listener",
            ForwardingPath.Kernel => "kernel",
            ForwardingPath.Refused => "refused",
            _ => "notCaught",
        },
        Reason = port.Reason,
        Endpoints = [.. Endpoints(port).Select(e => e.Address.ToString())],
        Ways = ways is null ? null : [.. Endpoints(port).Select(ways.Of)],
        Balancing = port.Port.ClientIPAffinity is { } affinity ? $"ClientIP {affinity.TotalSeconds:F0} s" : "none",
        ActiveConnections = traffic?.Active ?? 0,
        TotalConnections = traffic?.Total ?? 0,
    };

    private static IEnumerable<ServiceEndpoint> Endpoints(PlannedPort port) =>
        port.Port.Endpoints.Where(e => e.Address.Address.IsIPv6 == port.Address.Address.IsIPv6);

    private static string? Words(Handling handling) => handling switch
    {
        Handling.Handled => null,
        Handling.Headless => "headless",
        Handling.ExternalName => "ExternalName",
        Handling.Labelled => $"has the label {CatalogLabels.FilterLabel}",
        Handling.NotLabelled => $"has no label {CatalogLabels.FilterLabel}",
        Handling.Excluded => "listed in modules.edgeProxy.excludeServices",
        Handling.OtherProxy => $"the label {CatalogLabels.ProxyNameLabel} gives it to another proxy",
        Handling.NoClusterIP => "has no cluster IP yet",
        Handling.NoPorts => "has no usable port",
        Handling.AddressRefused => "its address is not caught; see its faults",
        Handling.TooLarge => "larger than one service may be; see its faults",
        _ => "its address and port belong to another service",
    };
}
