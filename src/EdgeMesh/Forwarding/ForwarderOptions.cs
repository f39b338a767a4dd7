using System.Collections.Immutable;
using EdgeMesh.Linux;
using EdgeMesh.Linux.Sockets;
using EdgeMesh.Net;
using EdgeMesh.Tunnel;

namespace EdgeMesh.Forwarding;

/// <summary>Asks where an accepted connection was going before it was redirected: 0, or a negated errno.</summary>
public delegate int OriginalDestinationResolver(int descriptor, bool isIPv6, out InetEndpoint destination);

/// <summary>How the TCP part of the user-mode path runs. All durations are positive.</summary>
public sealed record ForwarderOptions
{
    public const int DefaultPipes = 64;

    /// <summary>One per family; portal rules redirect to these.</summary>
    public required ImmutableArray<InetEndpoint> Listeners { get; init; }

    /// <summary>Threads that accept and relay, each with its own listen sockets.</summary>
    public int LoopCount { get; init; } = Environment.ProcessorCount;

    /// <summary>Most connections of all loops together; more are reset at once. Each needs two descriptors.</summary>
    public int MaxConnections { get; init; } = 100_000;

    /// <summary>Most connections of all loops together whose endpoint has not answered yet; more are reset at once.</summary>
    public int MaxPendingDials { get; init; } = 8_192;

    /// <summary>Connections that the kernel may hold ready per listen socket (cut at net.core.somaxconn).</summary>
    public int Backlog { get; init; } = 4_096;

    /// <summary>SO_MARK of dialled connections, which our own rules let pass; 0: none. Needs CAP_NET_ADMIN.</summary>
    public uint DialMark { get; init; } = PacketMarks.Own;

    /// <summary>Time limit of each attempt to reach an endpoint; their number is the most attempts per connection.</summary>
    public ImmutableArray<TimeSpan> DialLimits { get; init; } =
    [
        TimeSpan.FromMilliseconds(250), TimeSpan.FromMilliseconds(500), TimeSpan.FromSeconds(1), TimeSpan.FromSeconds(2),
    ];

    /// <summary>Brings connections to endpoints whose route names a node; null: those are dialled like all others.</summary>
    public ITunnelDialer? Tunnel { get; init; }

    /// <summary>When the kernel gives up on a client or endpoint that is gone.</summary>
    public PeerWatch PeerWatch { get; init; } = new();

    /// <summary>Bytes per pipe, and the most pipes that one loop keeps and lends. Beyond that, bytes are copied.</summary>
    public int PipeSize { get; init; } = 256 * 1024;

    public int PipesPerLoop { get; init; } = DefaultPipes;

    /// <summary>How long a loop that is busy with small messages looks for the next one before it sleeps; zero: never.</summary>
    public TimeSpan PollingLimit { get; init; } = TimeSpan.FromMicroseconds(50);

    /// <summary>Where connections were going; conntrack by default.</summary>
    public OriginalDestinationResolver OriginalDestination { get; init; } = TcpSocket.OriginalDestination;
}
