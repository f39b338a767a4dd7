using EdgeMesh.Catalog;
using EdgeMesh.Linux;
using EdgeMesh.Net;
using EdgeMesh.Tunnel;
using Microsoft.Extensions.Logging;

namespace EdgeMesh.Forwarding;

internal sealed unsafe partial class ForwardingLoop
{
    [LoggerMessage(3100, LogLevel.Debug, "{Service}: {Client} to {Endpoint}, {BytesToEndpoint} bytes there, {BytesToClient} bytes back, {Milliseconds} ms: {Outcome}.", SkipEnabledCheck = true)]
    private static partial void LogConnection(ILogger logger, ServicePortName service, InetEndpoint client, InetEndpoint endpoint, long bytesToEndpoint, long bytesToClient, long milliseconds, ConnectionOutcome outcome);

    [LoggerMessage(3101, LogLevel.Debug, "{Service}: {Client} refused: {Reason}.")]
    private static partial void LogRefused(ILogger logger, InetEndpoint client, ServicePortName? service, RefusalReason reason);

    [LoggerMessage(3102, LogLevel.Debug, "{Service}: endpoint {Endpoint} did not answer ({Reason}), attempt {Attempt}.")]
    private static partial void LogDialFailed(ILogger logger, ServicePortName service, InetEndpoint endpoint, DialFailure reason, int attempt);

    [LoggerMessage(3103, LogLevel.Error, "{Service}: a connection was reset by a fault in this program; others go on. Please report it.")]
    private static partial void LogFault(ILogger logger, ServicePortName? service, Exception exception);

    [LoggerMessage(3104, LogLevel.Critical, "Forwarding loop {Loop} has failed: its connections are cut, and the kernel sends new ones to kube-proxy within seconds. Restart the agent, and please report it.")]
    private static partial void LogLoopFailed(ILogger logger, int loop, Exception exception);

    [LoggerMessage(3105, LogLevel.Debug, "{Service}: {Client} to {Endpoint} through the tunnel to {Node}, {BytesToEndpoint} bytes there, {BytesToClient} bytes back: {End}.")]
    private static partial void LogCarried(ILogger logger, ServicePortName service, InetEndpoint client, InetEndpoint endpoint, string node, long bytesToEndpoint, long bytesToClient, TunnelEnd end);

    [LoggerMessage(3106, LogLevel.Debug, "{Service}: node {Node} did not take a connection to endpoint {Endpoint}: {Refusal}.")]
    private static partial void LogTunnelRefused(ILogger logger, ServicePortName service, InetEndpoint endpoint, string? node, TunnelRefusal refusal);
}
