using System.Collections.Immutable;
using EdgeMesh.Agent.Hosting.Handover;
using EdgeMesh.Forwarding;
using EdgeMesh.Kubernetes;
using EdgeMesh.Linux.Netlink;
using EdgeMesh.Linux.Sockets;
using Microsoft.Extensions.Logging;

namespace EdgeMesh.Agent.Hosting;

/// <summary>Taking over from an agent that runs, and being taken over. The words are in <see cref="HandoverWords"/>.</summary>
internal sealed partial class AgentService
{
    private static readonly TimeSpan HandoverSettles = TimeSpan.FromSeconds(10);
    private static readonly TimeSpan FactsDeadline = TimeSpan.FromSeconds(30);
    private static readonly TimeSpan RulesDeadline = TimeSpan.FromSeconds(50);
    private static readonly TimeSpan HangsAfter = TimeSpan.FromSeconds(3);
    private static readonly TimeSpan ClaimDeadline = TimeSpan.FromSeconds(10);
    private static readonly TimeSpan ClaimRetry = TimeSpan.FromMilliseconds(50);
    private static readonly TimeSpan ReclaimRetry = TimeSpan.FromSeconds(1);

    private readonly TaskCompletionSource _listening = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly TaskCompletionSource _withdrawn = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private HandoverHost? _handover;
    private Task _reclaiming = Task.CompletedTask;
    private Predecessor? _predecessor;
    private InheritedSockets? _inherited;
    private bool _tookOver;
    private volatile bool _handedOver;

    private async Task ClaimNodeAsync(CancellationToken cancellationToken)
    {
        _handover = new HandoverHost(
            $"edgemesh-agent {AgentVersion.Text}, process {Environment.ProcessId}",
            () => _tcp?.Listeners.IsEmpty == false ? _listenPort : 0,
            new HandoverSteps
            {
                FreezeAsync = FreezeAsync,
                ThawAsync = ThawAsync,
                ReleaseAsync = ReleaseAsync,
                ReclaimAsync = ReclaimAsync,
                StopAcceptingAsync = LeaveConnectionsToSuccessorAsync,
                FinishAsync = FinishAsync,
            },
            time, loggers.CreateLogger<HandoverHost>());
        // The holder may go between our question and its answer, so more than one look is needed; it cannot go for ever.
        var began = time.GetTimestamp();
        while ((_predecessor = await MeetPredecessorAsync(cancellationToken)) is null)
        {
            // The claim stands on the device, where only who may change this network can write.
            EnsureDevice();
            if (TryClaim())
                return;
            // One that starts at the same moment takes a while until it says who it is.
            if (time.GetElapsedTime(began) > ClaimDeadline)
                throw new AgentStartException("Another agent is starting on this node at the same moment. Let that one run, or start this one again.");
            await Task.Delay(ClaimRetry, time, cancellationToken);
        }

        if (!arguments.TakeOver)
        {
            throw new AgentStartException(
                $"Another agent already works on this node: {_predecessor.Identity}. Two would fight over the same rules. Stop that one first, or start this one with --take-over to replace it without a gap.");
        }

        if (!_predecessor.CanHandOver)
            throw new AgentStartException($"The agent that works on this node cannot hand over to this release: {_predecessor.Identity}. Stop it first.");
        LogTakingOver(_predecessor.Identity);
    }

    /// <summary>Who cannot prove to be an agent is worth the question whether it hands over, and no more.</summary>
    private async Task<Predecessor?> MeetPredecessorAsync(CancellationToken cancellationToken)
    {
        var met = await Predecessor.MeetAsync(time, cancellationToken);
        if (met is null || met.IsProven || (arguments.TakeOver && met.CanHandOver))
            return met;
        LogImpostor(met.Identity);
        met.Dispose();
        return null;
    }

    private bool TryClaim()
    {
        try
        {
            return (_instance = InstanceSocket.TryClaim(_options.DeviceName, _handover!.Visit)) is not null;
        }
        catch (Exception fault) when (fault is NetlinkException or IOException)
        {
            throw new AgentStartException($"This node could not be claimed: {fault.Message}", fault);
        }
    }

    /// <summary>Who has no facts yet has no rules to bring, and the running agent is better than none.</summary>
    private async Task FreezePredecessorAsync(CancellationToken cancellationToken)
    {
        try
        {
            await _source!.NextAsync(null, cancellationToken).WaitAsync(FactsDeadline, time, cancellationToken);
        }
        catch (TimeoutException late)
        {
            throw new AgentStartException(
                $"{_source!.Description} has not listed services and endpoints within {FactsDeadline.TotalSeconds} s, so this agent does not take over; {_predecessor!.Identity} goes on.", late);
        }

        _inherited = await _predecessor!.FreezeAsync(cancellationToken);
    }

    /// <summary>The kernel spreads connections over this agent and one of release 0.1.0 from the moment at which both listen: so not before there are routes.</summary>
    private void ListenBesidePredecessor()
    {
        try
        {
            Listen();
            _listening.SetResult();
        }
        catch (AgentStartException fault)
        {
            _listening.SetException(fault);
            throw;
        }
    }

    private async Task TakeOverAsync(CancellationToken cancellationToken)
    {
        if (_options.Proxy.Enable)
        {
            try
            {
                await _listening.Task.WaitAsync(RulesDeadline, time, cancellationToken);
                await _reconciler!.FirstSync.WaitAsync(RulesDeadline, time, cancellationToken);
            }
            catch (TimeoutException late)
            {
                throw new AgentStartException(
                    $"This agent's rules were not in force within {RulesDeadline.TotalSeconds} s, so it does not take over; {_predecessor!.Identity} goes on. {_reconciler!.State.Fault}", late);
            }
        }
        else
        {
            Listen();
        }

        await AwaitReleaseAsync(cancellationToken);
        await ClaimFromPredecessorAsync(cancellationToken);
        await StartAdminAsync(cancellationToken);
        // From here on a signal to stop is a stop of an agent that stands.
        _tookOver = true;
        try
        {
            await _predecessor!.StandAsync(AcceptConnections, CancellationToken.None);
        }
        catch (AgentStartException)
        {
            _tookOver = false;
            throw;
        }

        KeepListenersToItselfFromNowOn();
        LogTookOver(_predecessor.Identity);
    }

    /// <summary>Until the predecessor answers, it is the one that accepts. Where it hangs, this agent's heart must not keep rules in force
    /// that lead to nobody.</summary>
    private async Task AwaitReleaseAsync(CancellationToken cancellationToken)
    {
        var released = _predecessor!.ReleaseAsync(cancellationToken);
        try
        {
            await released.WaitAsync(HangsAfter, time, cancellationToken);
        }
        catch (TimeoutException)
        {
            _heart?.Close();
            LogPredecessorHangs(_predecessor.Identity, HangsAfter.TotalSeconds);
            await released;
            _heart?.Open();
        }
    }

    private async Task ClaimFromPredecessorAsync(CancellationToken cancellationToken)
    {
        var start = time.GetTimestamp();
        while (!TryClaim())
        {
            if (time.GetElapsedTime(start) > ClaimDeadline)
                throw new AgentStartException($"{_predecessor!.Identity} does not give up its place on this node; stop it, and start this agent again.");
            await Task.Delay(ClaimRetry, time, cancellationToken);
        }
    }

    /// <summary>Gives back what this agent has taken from one that still runs: connections first, and then, by the end of
    /// the line, everything else.</summary>
    private async Task AbandonTakeOverAsync()
    {
        if (_predecessor is null || _tookOver)
            return;
        if (_udp is not null)
        {
            await _udp.DisposeAsync();
            await _tcp!.StopAcceptingAsync(_predecessor.SharesSockets ? NewConnections.LeftToSharer : NewConnections.GivenToPredecessor);
        }

        await ReleaseAsync();
        _predecessor.Dispose();
        if (_udp is not null)
            LogStopped(await _tcp!.DrainAsync(_inForce.Proxy.DrainTimeout));
    }

    /// <summary>From what the predecessor listens with, once it leaves that alone.</summary>
    private void AcceptConnections()
    {
        _tcp?.Accept();
        _udp?.Receive();
        _names?.TakeFromPredecessor();
    }

    private async Task<ImmutableArray<DescriptorHandle>> FreezeAsync()
    {
        // Port 53 is not for everybody, so names may have sockets of their own at both; until ours leave it, questions come to ours.
        _names?.KeepFromSuccessor();
        if (_draining)
            await _withdrawn.Task;
        else
            await StopWritingAsync();
        return [.. _tcp?.Copies() ?? [], .. _udp?.Copies() ?? []];
    }

    private Task ThawAsync()
    {
        if (!_draining && _options.Proxy.Enable && _reconciler is not null)
        {
            StartWriting();
            _reconciler.RequestRepair();
        }

        return Task.CompletedTask;
    }

    private async Task ReleaseAsync()
    {
        if (Interlocked.Exchange(ref _admin, null) is { } admin)
            await admin.DisposeAsync();
        if (Interlocked.Exchange(ref _instance, null) is { } instance)
            await instance.DisposeAsync();
    }

    /// <summary>The service goes on whoever has the claim; a successor that failed gives it back when it ends.</summary>
    private Task ReclaimAsync()
    {
        _reclaiming = RunPartAsync("Taking back the claim", ReclaimAsync, _stop.Token);
        return Task.CompletedTask;
    }

    private async Task ReclaimAsync(CancellationToken cancellationToken)
    {
        while (!TryReclaim())
            await Task.Delay(ReclaimRetry, time, cancellationToken);
        try
        {
            await StartAdminAsync(cancellationToken);
        }
        catch (AgentStartException fault)
        {
            // Forwarding goes on without it.
            LogAdminLost(fault.Message);
        }
    }

    private bool TryReclaim()
    {
        try
        {
            return TryClaim();
        }
        catch (AgentStartException fault)
        {
            LogClaimLost(fault.Message);
            return false;
        }
    }

    private async Task LeaveConnectionsToSuccessorAsync()
    {
        _handedOver = true;
        await _stop.CancelAsync();
        _names?.LeaveToSuccessor();
        await Task.WhenAll(_tcp!.StopAcceptingAsync(NewConnections.LeftToSharer), _udp!.HandOverAsync(time));
        // Both agents are the same peer to all others, and the port has room for one.
        await LeaveMeshAsync();
    }

    private async Task FinishAsync(Task successorGone)
    {
        if (arguments.StayWhenTakenOver)
        {
            LogStaying();
            await successorGone;
        }

        stop();
    }
}
