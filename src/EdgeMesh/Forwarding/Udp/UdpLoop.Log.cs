using EdgeMesh.Catalog;
using EdgeMesh.Linux;
using EdgeMesh.Net;
using Microsoft.Extensions.Logging;

namespace EdgeMesh.Forwarding.Udp;

internal sealed partial class UdpLoop
{
    [LoggerMessage(3301, LogLevel.Debug,
        "UDP {Service}: client {Client}, endpoint {Endpoint}, {BytesToEndpoint} bytes there, {BytesToClient} bytes back, {Milliseconds} ms, closed: {Reason}")]
    private partial void LogClosed(
        ServicePortName service,
        InetEndpoint client,
        InetEndpoint endpoint,
        long bytesToEndpoint,
        long bytesToClient,
        long milliseconds,
        UdpCloseReason reason);

    [LoggerMessage(3302, LogLevel.Debug, "UDP {Service}: endpoint {Endpoint} refused client {Client}, going on with {Next}")]
    private partial void LogMoved(ServicePortName service, InetEndpoint client, InetEndpoint endpoint, InetEndpoint next);

    [LoggerMessage(3303, LogLevel.Warning,
        "UDP datagrams are dropped because conntrack cannot be asked for their original destination: {Reason}. The agent needs CAP_NET_ADMIN and a kernel with nf_conntrack_netlink. Said once.")]
    private partial void LogLookupFailed(string reason);

    [LoggerMessage(3304, LogLevel.Warning,
        "UDP datagrams are dropped because sockets may not be marked with {Mark}: the agent needs CAP_NET_ADMIN. Said once.")]
    private partial void LogMarkRefused(uint mark);

    [LoggerMessage(3305, LogLevel.Error, "A fault while serving the UDP listener {Listener}; at most one flow was lost. Please report it.")]
    private partial void LogFault(InetEndpoint listener, Exception fault);

    [LoggerMessage(3306, LogLevel.Error, "The UDP listener {Listener} is no longer served. Restart the agent, and please report it.")]
    private partial void LogLoopEnded(InetEndpoint listener, Exception fault);
}
