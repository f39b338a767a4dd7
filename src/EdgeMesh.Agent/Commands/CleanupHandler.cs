using EdgeMesh.Agent.Hosting;
using EdgeMesh.Agent.Hosting.Handover;
using EdgeMesh.Agent.Options;
using EdgeMesh.Linux.Netlink;
using Microsoft.Extensions.Logging.Abstractions;

namespace EdgeMesh.Agent.Commands;

/// <summary>Removes everything of ours from this node's network.</summary>
internal static class CleanupHandler
{
    public static async Task<int> RunAsync(CleanupArguments arguments, CancellationToken cancellationToken)
    {
        string[] devices;
        InstanceSocket? claim;
        await using var visitors = new HandoverHost("edgemesh-agent cleanup", () => 0, steps: null, TimeProvider.System, NullLogger<HandoverHost>.Instance);
        try
        {
            if (await HolderAsync(cancellationToken) is { } holder)
                return await RefuseAsync(arguments, holder);
            devices = Devices(arguments.Options);
            // An agent that starts meanwhile shall see that this one works. Without a device there is nothing to claim.
            claim = devices.Length == 0 ? null : InstanceSocket.TryClaim(devices[0], visitors.Visit);
            if (claim is null && InstanceSocket.FindHolder() is not null)
                return await RefuseAsync(arguments, "it has started this moment");
        }
        catch (Exception fault) when (fault is AgentStartException or NetlinkException or IOException)
        {
            await arguments.Error.WriteLineAsync($"error: {fault.Message}");
            return ExitCodes.Failure;
        }

        await using (claim)
        {
            var left = await RemoveRulesAsync(arguments, cancellationToken);
            foreach (var device in devices)
                left |= !await RemoveDeviceAsync(arguments, device);
            if (devices.Length == 0)
                await arguments.Output.WriteLineAsync("device: none of the agent's was there");
            return left ? ExitCodes.Failure : ExitCodes.Ok;
        }
    }

    /// <returns>Null when no agent can be shown to work here.</returns>
    private static async Task<string?> HolderAsync(CancellationToken cancellationToken)
    {
        using var holder = await Predecessor.MeetAsync(TimeProvider.System, cancellationToken);
        return holder is { IsProven: true } ? holder.Identity : null;
    }

    private static async Task<int> RefuseAsync(CleanupArguments arguments, string holder)
    {
        await arguments.Error.WriteLineAsync($"error: an agent works on this node ({holder}) and would put everything back; stop it first");
        return ExitCodes.Failure;
    }

    /// <summary>The configured one, and those that are ours by themselves, whatever the configuration says today.</summary>
    private static string[] Devices(AgentOptions? options)
    {
        string[] named = options is null ? [CommonKeys.DeviceName.Default] : [options.DeviceName, CommonKeys.DeviceName.Default];
        return [.. ListenDevice.Ours(named, NodeClaim.Beginning, [.. ListenerAddresses.Of(CommonKeys.DeviceAddress.Default)])];
    }

    /// <returns>True when something may be left.</returns>
    private static async Task<bool> RemoveRulesAsync(CleanupArguments arguments, CancellationToken cancellationToken)
    {
        var faults = await RuleBackends.RemoveAllAsync(TimeProvider.System, cancellationToken);
        foreach (var fault in faults)
            await arguments.Error.WriteLineAsync($"error: {fault}");
        if (faults.Length == 0)
            await arguments.Output.WriteLineAsync("rules: none of the agent's are left");
        return faults.Length > 0;
    }

    /// <returns>False when it is still there.</returns>
    private static async Task<bool> RemoveDeviceAsync(CleanupArguments arguments, string device)
    {
        try
        {
            await arguments.Output.WriteLineAsync(ListenDevice.Remove(device) ? $"device: {device} removed" : $"device: {device} was not there");
            return true;
        }
        catch (NetlinkException fault)
        {
            await arguments.Error.WriteLineAsync($"error: {fault.Message}");
            return false;
        }
    }
}
