using EdgeMesh.Agent.Hosting;
using EdgeMesh.Agent.Hosting.Handover;
using EdgeMesh.Agent.Options;
using EdgeMesh.Linux.Netlink;
using EdgeMesh.Netfilter;
using EdgeMesh.Netfilter.Iptables;
using Microsoft.Extensions.Logging.Abstractions;

namespace EdgeMesh.Agent.Commands;

/// <summary>Removes everything of ours from this node's network.</summary>
internal static class CleanupHandler
{
    public static async Task<int> RunAsync(CleanupArguments arguments, CancellationToken cancellationToken)
    {
        await using var visitors = new HandoverHost("edgemesh-agent cleanup", steps: null, TimeProvider.System, NullLogger<HandoverHost>.Instance);
        var claim = InstanceSocket.TryClaim(visitors.Visit);
        if (claim is null)
        {
            using var holder = await Predecessor.MeetAsync(TimeProvider.System, cancellationToken);
            await arguments.Error.WriteLineAsync($"error: an agent works on this node ({holder?.Identity ?? "it ended this moment"}) and would put everything back; stop it first");
            return ExitCodes.Failure;
        }

        await using (claim)
        {
            try
            {
                var prefix = arguments.Options?.Proxy.ChainPrefix ?? ChainPrefix.EdgeMesh;
                await RuleBackends.RemoveAllAsync(prefix, TimeProvider.System, cancellationToken);
                await arguments.Output.WriteLineAsync("rules: none of the agent's are left");
                var device = arguments.Options?.DeviceName ?? CommonKeys.DeviceName.Default;
                await arguments.Output.WriteLineAsync(ListenDevice.Remove(device) ? $"device: {device} removed" : $"device: {device} was not there");
                return ExitCodes.Ok;
            }
            catch (Exception fault) when (fault is NetfilterException or NetlinkException)
            {
                await arguments.Error.WriteLineAsync($"error: {fault.Message}");
                return ExitCodes.Failure;
            }
        }
    }
}
