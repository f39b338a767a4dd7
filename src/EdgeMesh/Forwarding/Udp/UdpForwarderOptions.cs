using System.Collections.Immutable;
using EdgeMesh.Balancing;
using EdgeMesh.Linux;
using EdgeMesh.Linux.Netlink;
using EdgeMesh.Net;
using EdgeMesh.Tunnel;

namespace EdgeMesh.Forwarding.Udp;

/// <summary>Asks what a client's datagrams were sent to before they were redirected. Called by one loop thread only.</summary>
/// <param name="errno">Why the answer is <see cref="ConntrackAnswer.Unavailable"/>.</param>
public delegate ConntrackAnswer UdpOriginalDestination(
    in InetEndpoint listener, in InetEndpoint client, out InetEndpoint original, out int errno);

/// <summary>How the UDP part of the user-mode path runs. All durations are positive.</summary>
public sealed record UdpForwarderOptions
{
    /// <summary>One per family; portal rules redirect to these. Each is served by a thread of its own.</summary>
    public required ImmutableArray<InetEndpoint> Listeners { get; init; }

    /// <summary>Most flows per listener. Each needs one descriptor; at the bound a flow that was idle long gives way, of the
    /// client or service that has most.</summary>
    public int MaxFlows { get; init; } = 16_384;

    /// <summary>A flow that has gone both ways for a while is closed after so long without a datagram. As conntrack has it
    /// (net.netfilter.nf_conntrack_udp_timeout_stream), which knows the client's side of the flow no longer than that.</summary>
    public TimeSpan IdleTimeout { get; init; } = TimeSpan.FromSeconds(120);

    /// <summary>Every other flow is closed after so long (net.netfilter.nf_conntrack_udp_timeout), or after
    /// <see cref="IdleTimeout"/> if that is shorter.</summary>
    public TimeSpan UnassuredTimeout { get; init; } = TimeSpan.FromSeconds(30);

    /// <summary>After so long without a datagram the kernel may have forgotten the flow and given the client's port to
    /// another one, so that the next datagram's original destination is looked up again. Must be shorter than
    /// net.netfilter.nf_conntrack_udp_timeout (30 s by default).</summary>
    public TimeSpan RevalidateAfter { get; init; } = TimeSpan.FromSeconds(10);

    /// <summary>SO_MARK of everything sent, which our own rules let pass; 0: none. Needs CAP_NET_ADMIN.</summary>
    public uint Mark { get; init; } = PacketMarks.Own;

    /// <summary>Brings datagrams to endpoints whose route names a node; null: those are sent to like all others.</summary>
    public ITunnelDialer? Tunnel { get; init; }

    /// <summary>Datagrams per system call; each place is 64 KiB of address space.</summary>
    public int BatchSize { get; init; } = 32;

    /// <summary>Wish for the listener's kernel buffers: a burst waits there while the loop is busy.</summary>
    public int ListenerBufferBytes { get; init; } = 4 * 1024 * 1024;

    /// <summary>When endpoints that keep refusing are left out.</summary>
    public SetAsidePolicy SetAside { get; init; } = new();

    /// <summary>Null: ask conntrack.</summary>
    public UdpOriginalDestination? OriginalDestination { get; init; }
}
