using System.Collections.Immutable;
using System.Text.Json.Serialization;

namespace EdgeMesh.Agent.Admin;

/// <summary>What <c>GET /status</c> answers and <c>edgemesh-agent status</c> shows. Field names are part of the interface:
/// scripts read them.</summary>
internal sealed record StatusDocument
{
    public required string Version { get; init; }

    public required NodeStatus Node { get; init; }

    public required SourceStatus Source { get; init; }

    public required RulesStatus Rules { get; init; }

    public required DataPathStatus DataPath { get; init; }

    /// <summary>Absent where the tunnel is off.</summary>
    public TunnelStatus? Tunnel { get; init; }

    /// <summary>Absent where names are not answered.</summary>
    public NamesStatus? Names { get; init; }

    /// <summary>What this host's kernel can carry, by family.</summary>
    public ImmutableArray<HostFamilyStatus> Host { get; init; } = [];

    public required ImmutableArray<ServiceStatus> Services { get; init; }
}

internal sealed record NodeStatus
{
    public required string Name { get; init; }

    public required bool Edge { get; init; }

    public required DateTimeOffset StartedAt { get; init; }

    /// <summary>starting, running, draining.</summary>
    public required string Phase { get; init; }

    /// <summary>What this machine lacks or refused, each with its consequence.</summary>
    public required ImmutableArray<string> Notices { get; init; }
}

internal sealed record HostFamilyStatus
{
    public required string Family { get; init; }

    /// <summary>Carries, CarriesWithRules, NotForwarding, ForwardDropped, Shut or Unknown: docs/hosts.md.</summary>
    public required string Code { get; init; }

    public required string Sentence { get; init; }

    /// <summary>Which connections on the kernel path get this node's address.</summary>
    public required string Masquerade { get; init; }
}

internal sealed record SourceStatus
{
    public required string Description { get; init; }

    /// <summary>none, cache, live, offline (a metaServer without its cloud) or unreachable (it was live before).</summary>
    public required string Origin { get; init; }

    public DateTimeOffset? AsOf { get; init; }

    /// <summary>Why the facts may be old, in words; null while they are those of now.</summary>
    public string? Stale { get; init; }

    public required ImmutableArray<SourceKindStatus> Kinds { get; init; }

    /// <summary>Certificates that end within a week, or have ended.</summary>
    public ImmutableArray<string> Notices { get; init; } = [];
}

internal sealed record SourceKindStatus
{
    public required string Kind { get; init; }

    public required bool Synced { get; init; }

    public DateTimeOffset? LastSuccess { get; init; }

    public string? Fault { get; init; }
}

internal sealed record RulesStatus
{
    public required string Backend { get; init; }

    /// <summary>Why this backend.</summary>
    public required string Reason { get; init; }

    /// <summary>False: modules.edgeProxy.enable is false, and there are no rules to put in force.</summary>
    public required bool Enabled { get; init; }

    public required bool InForce { get; init; }

    public string? Fault { get; init; }

    public DateTimeOffset? LastSync { get; init; }

    public required double LastSyncMilliseconds { get; init; }

    public required long OrderRepairs { get; init; }

    public DateTimeOffset? LastRepair { get; init; }

    public required ImmutableArray<string> RecentRepairs { get; init; }

    public required ImmutableArray<JumpStatus> Jumps { get; init; }

    /// <summary>Changes that went to the kernel without the nft program; null where the backend has no such way.</summary>
    public long? DirectChanges { get; init; }

    /// <summary>Those that the kernel refused in that form, and nft carried.</summary>
    public long? DirectChangesRefused { get; init; }
}

internal sealed record JumpStatus
{
    public required string Family { get; init; }

    public required string Hook { get; init; }

    public required string Chain { get; init; }

    /// <summary>1 is first; 0 is missing.</summary>
    public required int Position { get; init; }

    public required string Detail { get; init; }
}

internal sealed record DataPathStatus
{
    public required string Listener { get; init; }

    public required long ActiveConnections { get; init; }

    public required long TotalConnections { get; init; }

    public required long ActiveFlows { get; init; }

    public required long TotalFlows { get; init; }

    public required long Refused { get; init; }

    public required long Shed { get; init; }

    public required long DialFailures { get; init; }
}

internal sealed record ServiceStatus
{
    public required string Name { get; init; }

    public required bool Handled { get; init; }

    /// <summary>Why it is not handled; null for a handled one.</summary>
    public string? Reason { get; init; }

    public required ImmutableArray<string> Faults { get; init; }

    public required ImmutableArray<ServicePortStatus> Ports { get; init; }
}

internal sealed record ServicePortStatus
{
    public required string Name { get; init; }

    public required string Protocol { get; init; }

    /// <summary>The address and port that are caught.</summary>
    public required string Address { get; init; }

    /// <summary>clusterIP for now; further kinds follow.</summary>
    public required string Kind { get; init; }

    /// <summary>listener, kernel, refused or notCaught.</summary>
    public required string Path { get; init; }

    public required string Reason { get; init; }

    public required ImmutableArray<string> Endpoints { get; init; }

    /// <summary>In the order of <see cref="Endpoints"/>; absent where the tunnel is off.</summary>
    public ImmutableArray<EndpointWayStatus>? Ways { get; init; }

    public required string Balancing { get; init; }

    /// <summary>Of the user-mode path; the kernel does not report connections it forwards.</summary>
    public required long ActiveConnections { get; init; }

    public required long TotalConnections { get; init; }
}

/// <summary>How one endpoint is reached.</summary>
internal sealed record EndpointWayStatus
{
    public required string Endpoint { get; init; }

    public string? Node { get; init; }

    /// <summary>local, direct or tunnel.</summary>
    public required string Way { get; init; }

    public required string Reason { get; init; }

    public double? RoundTripMilliseconds { get; init; }
}

/// <summary>modules.edgeDNS.</summary>
internal sealed record NamesStatus
{
    /// <summary>Empty where the port cannot be had; a notice says why.</summary>
    public required ImmutableArray<string> Listening { get; init; }

    /// <summary>Whose names are answered here; empty where all are asked of the cluster's DNS.</summary>
    public required ImmutableArray<string> Domains { get; init; }

    public required int Services { get; init; }

    /// <summary>False until services have been listed: until then names of the domains are answered SERVFAIL.</summary>
    public required bool HasFacts { get; init; }

    public required long Requests { get; init; }

    /// <summary>By where they came from: zone, cache, upstream, stale, refused, malformed, failed.</summary>
    public required ImmutableSortedDictionary<string, long> Answers { get; init; }

    public required int CacheEntries { get; init; }

    public required ImmutableArray<UpstreamStatus> Upstreams { get; init; }
}

internal sealed record UpstreamStatus
{
    public required string Address { get; init; }

    public required bool Healthy { get; init; }

    /// <summary>Absent before its first answer.</summary>
    public double? RoundTripMilliseconds { get; init; }

    public required long Sent { get; init; }

    public required long Failed { get; init; }
}

/// <summary>What <c>GET /dns?name=NAME&amp;type=TYPE</c> answers.</summary>
internal sealed record NameStatus
{
    /// <summary>NOERROR, NXDOMAIN, SERVFAIL …</summary>
    public required string Code { get; init; }

    /// <summary>Like <c>web.shop.svc.cluster.local. 30 A 10.96.0.10</c>.</summary>
    public required ImmutableArray<string> Records { get; init; }

    /// <summary>zone, cache, upstream, stale, refused, malformed or failed.</summary>
    public required string Source { get; init; }

    /// <summary>Why it is so, in words.</summary>
    public required string Reason { get; init; }
}

internal sealed record TunnelStatus
{
    public required string PeerId { get; init; }

    public required ImmutableArray<string> Listening { get; init; }

    /// <summary>Why nothing goes through the tunnel.</summary>
    public string? Fault { get; init; }

    public required ImmutableArray<TunnelRelayStatus> Relays { get; init; }

    public required ImmutableArray<TunnelNodeStatus> Nodes { get; init; }

    public required long StreamsIn { get; init; }

    public required long StreamsOut { get; init; }

    /// <summary>Connections and flows of peers that this node did not serve.</summary>
    public required long RefusedIn { get; init; }

    public required long RefusedOut { get; init; }

    public required long StrangersRefused { get; init; }
}

internal sealed record TunnelRelayStatus
{
    public required string Name { get; init; }

    public required bool Connected { get; init; }

    public double? RoundTripMilliseconds { get; init; }

    /// <summary>Until when others can reach this node through it.</summary>
    public DateTimeOffset? ReservedUntil { get; init; }

    public string? Fault { get; init; }
}

internal sealed record TunnelNodeStatus
{
    public required string Name { get; init; }

    public required string PeerId { get; init; }

    /// <summary>connecting, relayed or direct.</summary>
    public required string State { get; init; }

    public string? Address { get; init; }

    /// <summary>The relay that a relayed session runs through.</summary>
    public string? Relay { get; init; }

    public double? RoundTripMilliseconds { get; init; }

    /// <summary>For how long the session has stood.</summary>
    public double? AgeSeconds { get; init; }

    public required int Streams { get; init; }

    public required ImmutableArray<TunnelRangeStatus> Ranges { get; init; }

    public string? Fault { get; init; }
}

internal sealed record TunnelRangeStatus
{
    public required string Range { get; init; }

    /// <summary>unverified, direct, lost or returning.</summary>
    public required string State { get; init; }

    public required string Reason { get; init; }

    public double? RoundTripMilliseconds { get; init; }
}

[JsonSourceGenerationOptions(
    PropertyNamingPolicy = JsonKnownNamingPolicy.CamelCase,
    WriteIndented = true,
    DefaultIgnoreCondition = JsonIgnoreCondition.WhenWritingNull)]
[JsonSerializable(typeof(StatusDocument))]
[JsonSerializable(typeof(NameStatus))]
internal sealed partial class StatusJson : JsonSerializerContext;
