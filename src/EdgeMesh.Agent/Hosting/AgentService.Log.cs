using Microsoft.Extensions.Logging;

namespace EdgeMesh.Agent.Hosting;

internal sealed partial class AgentService
{
    [LoggerMessage(1000, LogLevel.Information, "edgemesh-agent {Version} on node {Node} ({Kind}); facts from {Source}; rules through {Backend}: {Reason}")]
    private partial void LogStarting(string version, string node, string kind, string source, string backend, string reason);

    [LoggerMessage(1001, LogLevel.Warning, "{Notice}")]
    private partial void LogNotice(string notice);

    [LoggerMessage(1002, LogLevel.Information, "Listening on {Listeners}; at most {Connections} connections")]
    private partial void LogListening(string listeners, int connections);

    [LoggerMessage(1003, LogLevel.Information, "Answering on http://{Address} (/livez /readyz /healthz /metrics /status)")]
    private partial void LogAdmin(string address);

    [LoggerMessage(1004, LogLevel.Information, "Stopping: {Connections} connections and {Flows} UDP flows have up to {Seconds} s to end")]
    private partial void LogDraining(long connections, long flows, double seconds);

    [LoggerMessage(1005, LogLevel.Information, "Stopped; {Cut} connections had to be cut")]
    private partial void LogStopped(int cut);

    [LoggerMessage(1006, LogLevel.Warning, "The rules that need this process could not be withdrawn; they lose force within seconds by themselves. {Reason}")]
    private partial void LogWithdrawFailed(string reason);

    [LoggerMessage(1007, LogLevel.Error, "{Part} ended by a fault of this program; the agent goes on without it. Please report this.")]
    private partial void LogPartFailed(string part, Exception fault);
}
