using System.Collections.Immutable;
using System.Security.Cryptography.X509Certificates;
using EdgeMesh.Dns.Caching;
using EdgeMesh.Dns.Forwarding;
using EdgeMesh.Linux;
using EdgeMesh.Net;

namespace EdgeMesh.Names;

public sealed record NameServerOptions
{
    /// <summary>Where it answers, by UDP and by TCP; a port of 0 lets the kernel choose one.</summary>
    public required ImmutableArray<InetEndpoint> Listen { get; init; }

    /// <summary>Who may ask: this node's pods and the node itself. Without a good reason, nobody else.</summary>
    public required Func<InetAddress, bool> Allows { get; init; }

    public UpstreamTable Upstreams { get; init; } = UpstreamTable.Empty;

    public AnswerCacheOptions Cache { get; init; } = new();

    public ForwarderOptions Forwarder { get; init; } = new();

    /// <summary>Answers by UDP for one client address in a second.</summary>
    public int MaxAnswersPerSecond { get; init; } = 200_000;

    /// <summary>Whose certificates upstreams may have that are asked by TLS; null: the host's.</summary>
    public X509Certificate2Collection? UpstreamAuthorities { get; init; }

    /// <summary>Client connections at one time; beyond it the address that has most of them loses the one that was idle longest.</summary>
    public int MaxConnections { get; init; } = 1_000;

    /// <summary>A connection that brings no whole request for so long is closed (RFC 7766, 6.2.3).</summary>
    public TimeSpan IdleTimeout { get; init; } = TimeSpan.FromSeconds(10);

    public int ListenerBufferBytes { get; init; } = 4 * 1024 * 1024;

    /// <summary>How long to look for the next request before sleeping; zero: never.</summary>
    public TimeSpan PollingLimit { get; init; }
}
