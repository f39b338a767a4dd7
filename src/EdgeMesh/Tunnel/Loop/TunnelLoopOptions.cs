using EdgeMesh.Linux.Sockets;

namespace EdgeMesh.Tunnel.Loop;

/// <summary>How a tunnel loop waits, and for how long for whom.</summary>
internal sealed record TunnelLoopOptions
{
    /// <summary>How long to look for the next small message before sleeping; zero: never.</summary>
    public TimeSpan Polling { get; init; }

    /// <summary>When a silent peer of a local socket is given up.</summary>
    public PeerWatch Watch { get; init; } = new();

    public TimeSpan EndpointTimeout { get; init; } = TimeSpan.FromSeconds(3);

    public TimeSpan AnswerTimeout { get; init; } = TimeSpan.FromSeconds(8);

    public TimeSpan DatagramIdle { get; init; } = TimeSpan.FromSeconds(120);
}
