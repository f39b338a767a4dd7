using System.Collections.Immutable;
using System.Globalization;
using EdgeMesh.Linux.Sockets;
using Microsoft.Extensions.Logging;

namespace EdgeMesh.Agent.Hosting.Handover;

/// <param name="identity">Who this is, for people: program, version, process.</param>
/// <param name="listenPort">At which port it listens; 0: it does not, yet.</param>
/// <param name="steps">Null: never hands over.</param>
/// <summary>The running agent's side: tells visitors who is here, and hands over to one that may take over.</summary>
internal sealed partial class HandoverHost(string identity, Func<int> listenPort, HandoverSteps? steps, TimeProvider time, ILogger<HandoverHost> logger) : IAsyncDisposable
{
    private const int MostVisitors = 8;

    /// <summary>A successor asks once it has its facts; on a busy node with an API server far away that takes its time. Only who
    /// has shown the right to be here waits here.</summary>
    private static readonly TimeSpan QuestionDeadline = TimeSpan.FromSeconds(60);

    /// <summary>Writing the rules of 10,000 services takes seconds; while it lasts, this agent does not follow changes.</summary>
    private static readonly TimeSpan RulesDeadline = TimeSpan.FromSeconds(60);
    private static readonly TimeSpan StandDeadline = TimeSpan.FromSeconds(15);

    private readonly CancellationTokenSource _stop = new();
    private readonly Lock _lock = new();
    private readonly List<Task> _visits = [];
    private TaskCompletionSource? _underWay;

    /// <summary>The process that failed to take over and has not ended, 0 where it has no number here; null: none.</summary>
    private int? _hanging;

    /// <summary>For <see cref="InstanceSocket.TryClaim"/>.</summary>
    public void Visit(HandoverLine line)
    {
        lock (_lock)
        {
            _visits.RemoveAll(visit => visit.IsCompleted);
            if (_visits.Count >= MostVisitors || _stop.IsCancellationRequested)
                line.Dispose();
            else
                _visits.Add(ServeAsync(line));
        }
    }

    /// <summary>Waits until a handover that is under way has come to an end, good or bad.</summary>
    /// <returns>False when it has not by the deadline.</returns>
    public async Task<bool> SettleAsync(TimeSpan deadline)
    {
        Task? underWay;
        lock (_lock)
            underWay = _underWay?.Task;
        if (underWay is null)
            return true;
        try
        {
            await underWay.WaitAsync(deadline, time);
            return true;
        }
        catch (TimeoutException)
        {
            return false;
        }
    }

    public async ValueTask DisposeAsync()
    {
        await _stop.CancelAsync();
        Task[] visits;
        lock (_lock)
            visits = [.. _visits];
        await Task.WhenAll(visits);
        _stop.Dispose();
    }

    private async Task ServeAsync(HandoverLine line)
    {
        await Task.Yield();
        using (line)
        {
            try
            {
                await ServeAsync(line, _stop.Token);
            }
            catch (OperationCanceledException) when (_stop.IsCancellationRequested)
            {
                // This agent has ended.
            }
        }
    }

    private async Task ServeAsync(HandoverLine line, CancellationToken cancellationToken)
    {
        if (!await line.WriteAsync(identity, cancellationToken) || !await line.WriteAsync(string.Create(CultureInfo.InvariantCulture, $"{HandoverWords.Version} {listenPort()}"), cancellationToken)
            || await line.ReadAsync(QuestionDeadline, cancellationToken) is not { } request)
        {
            return;
        }

        if (request != HandoverWords.Freeze)
            await line.WriteAsync($"{HandoverWords.Refused}this release does not know what you asked for", cancellationToken);
        else if (steps is null)
            await line.WriteAsync($"{HandoverWords.Refused}it forwards nothing and ends soon; start this agent again then", cancellationToken);
        else if (TryBegin() is { } obstacle)
            await line.WriteAsync($"{HandoverWords.Refused}{obstacle}", cancellationToken);
        else
            await HandOverAsync(steps, line, line.Peer.ProcessId, cancellationToken);
    }

    /// <returns>Null, or why not.</returns>
    private string? TryBegin()
    {
        lock (_lock)
        {
            if (_underWay is not null)
                return "a third agent is taking over at this moment, or has done so";
            // It may write rules yet, until it hears that it is not to.
            if (_hanging is { } process)
                return string.Create(CultureInfo.InvariantCulture, $"process {process} tried so before, failed, and has not ended; end it (kill -9 if it hangs)");
            _underWay = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
            return null;
        }
    }

    private async Task HandOverAsync(HandoverSteps steps, HandoverLine line, int successor, CancellationToken cancellationToken)
    {
        var handedOver = false;
        try
        {
            LogBegun(successor);
            handedOver = Share(line, await steps.FreezeAsync())
                && await line.WriteAsync(HandoverWords.Frozen, cancellationToken)
                && await line.ReadAsync(RulesDeadline, cancellationToken) == HandoverWords.Release
                && await ReleaseAsync(steps, line, cancellationToken);
            if (handedOver)
            {
                await steps.StopAcceptingAsync();
                await line.WriteAsync(HandoverWords.Closed, cancellationToken);
                LogHandedOver(successor);
            }
            else
            {
                LogFailed(successor);
                // Who thinks that it stands must hear that it does not; silence would mean to it that nobody is left here.
                await line.WriteAsync($"{HandoverWords.Refused}it did not hear '{HandoverWords.Standing}' in time, and goes on", cancellationToken);
                await steps.ThawAsync();
            }
        }
        finally
        {
            EndAttempt(handedOver, line.IsGone ? null : successor);
        }

        if (handedOver)
        {
            await steps.FinishAsync(line.GoneAsync(cancellationToken));
            return;
        }

        if (line.IsGone)
            return;
        await line.GoneAsync(cancellationToken);
        Forget();
    }

    private static bool Share(HandoverLine line, ImmutableArray<DescriptorHandle> sockets)
    {
        try
        {
            return sockets.Select(socket => socket.Descriptor).Chunk(DescriptorPassing.MostAtOnce).All(some => line.Write(HandoverWords.Sockets, some));
        }
        finally
        {
            foreach (var socket in sockets)
                socket.Dispose();
        }
    }

    private void Forget()
    {
        lock (_lock)
            _hanging = null;
    }

    /// <summary>A method of its own: in the native program a lock inside the finally of an asynchronous method was seen to stay held.</summary>
    /// <param name="hanging">Who failed and has not ended; null: it has.</param>
    private void EndAttempt(bool handedOver, int? hanging)
    {
        lock (_lock)
        {
            _underWay!.SetResult();
            if (!handedOver)
                (_underWay, _hanging) = (null, hanging);
        }
    }

    private static async Task<bool> ReleaseAsync(HandoverSteps steps, HandoverLine line, CancellationToken cancellationToken)
    {
        await steps.ReleaseAsync();
        if (await line.WriteAsync(HandoverWords.Released, cancellationToken)
            && await line.ReadAsync(StandDeadline, cancellationToken) == HandoverWords.Standing)
        {
            return true;
        }

        // Whoever has the claim by now: without the word this agent's service does not end.
        await steps.ReclaimAsync();
        return false;
    }

    [LoggerMessage(1200, LogLevel.Information, "Process {Process} begins to take over from this agent")]
    private partial void LogBegun(int process);

    [LoggerMessage(1201, LogLevel.Information, "Process {Process} has taken over: new connections, rules and the admin address are its own")]
    private partial void LogHandedOver(int process);

    [LoggerMessage(1202, LogLevel.Warning, "Process {Process} did not manage to take over (its log says why); this agent goes on")]
    private partial void LogFailed(int process);
}
