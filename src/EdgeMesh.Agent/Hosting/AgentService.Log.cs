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

    [LoggerMessage(1004, LogLevel.Information, "Stopping: {Connections} connections and {Flows} UDP flows have up to {Seconds} s to end")]
    private partial void LogDraining(long connections, long flows, double seconds);

    [LoggerMessage(1005, LogLevel.Information, "Stopped; {Cut} connections had to be cut")]
    private partial void LogStopped(int cut);

    [LoggerMessage(1006, LogLevel.Warning, "The rules that need this process could not be withdrawn; they lose force within seconds by themselves. {Reason}")]
    private partial void LogWithdrawFailed(string reason);

    [LoggerMessage(1008, LogLevel.Information, "{Notice}")]
    private partial void LogFound(string notice);

    [LoggerMessage(1009, LogLevel.Debug, "Gave back {Megabytes:0} MB of program files that only the start had used")]
    private partial void LogStartForgotten(double megabytes);

    [LoggerMessage(1010, LogLevel.Warning, "The addresses of this node cannot be listed, and services are judged by those that were known before: {Reason}")]
    private partial void LogAddressesUnknown(string reason);

    [LoggerMessage(1011, LogLevel.Warning, "What waits for the answer of a file system or a program has not ended within {Seconds} s ({Parts}); the agent ends without")]
    private partial void LogPartsHang(string parts, double seconds);

    [LoggerMessage(1020, LogLevel.Information, "Taking over from {Predecessor}")]
    private partial void LogTakingOver(string predecessor);

    [LoggerMessage(1021, LogLevel.Information, "Took over from {Predecessor}, which ends once its connections have")]
    private partial void LogTookOver(string predecessor);

    [LoggerMessage(1043, LogLevel.Warning, "{Predecessor} has not answered for {Seconds} s. It is the one that accepts connections, so new ones go to kube-proxy until it answers; end it (kill -9) if it hangs, and start this agent again")]
    private partial void LogPredecessorHangs(string predecessor, double seconds);

    [LoggerMessage(1022, LogLevel.Information, "Waiting to be stopped: another agent has taken over. Should that one end first, this one ends too, to be started again.")]
    private partial void LogStaying();

    [LoggerMessage(1023, LogLevel.Warning, "An agent that was taking over has come to no end within {Seconds} s; this one stops now")]
    private partial void LogHandoverStuck(double seconds);

    [LoggerMessage(1024, LogLevel.Warning, "Forwarding goes on, but without probes, metrics and status: {Reason}")]
    private partial void LogAdminLost(string reason);

    [LoggerMessage(1025, LogLevel.Warning, "Ignored: {Who} holds the name of an agent of release 0.1.0, but cannot be shown to be one. If it is one, stop it.")]
    private partial void LogImpostor(string who);

    [LoggerMessage(1026, LogLevel.Warning, "The claim to this node could not be taken back yet; forwarding goes on. {Reason}")]
    private partial void LogClaimLost(string reason);

    [LoggerMessage(1027, LogLevel.Information, "The rules move to {Backend} from {Before}: {Reason}")]
    private partial void LogMoving(string backend, string before, string reason);

    [LoggerMessage(1028, LogLevel.Debug, "It could not be found out who should carry the rules, so nothing changes; it is tried again. {Reason}")]
    private partial void LogChoiceFailed(string reason);
}
