using Microsoft.Extensions.Logging;

namespace EdgeMesh.Agent.Hosting.Tunnel;

internal sealed partial class TunnelPart
{
    [LoggerMessage(1040, LogLevel.Warning, "The tunnel cannot listen on port {Port} yet, and tries again: {Reason} If another program has the port, change modules.edgeTunnel.listenPort on all nodes or stop that program.")]
    private partial void LogCannotListen(int port, string reason);

    [LoggerMessage(1041, LogLevel.Information, "The tunnel listens on port {Port} now")]
    private partial void LogListensNow(int port);

    [LoggerMessage(1042, LogLevel.Warning, "The relay address {Address} of modules.edgeTunnel.relayNodes cannot be used: {Reason}")]
    private partial void LogUnusable(string address, string reason);
}
