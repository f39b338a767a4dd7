using System.Collections.Concurrent;

namespace EdgeMesh.Tunnel.Loop;

/// <summary>What other threads bring, and what becomes of a fault: it costs what it happened to.</summary>
internal sealed partial class TunnelLoop
{
    private readonly ConcurrentQueue<(Action Work, Action<Exception> GiveUp)> _posted = new();
    private readonly Lock _leftGate = new();
    private int _wakePending;

    /// <summary>From any thread: run this on the loop's. What comes after its end runs on the caller's, and finds every session
    /// gone and no socket registered.</summary>
    /// <param name="giveUp">Called when the work failed in a way that nobody foresaw.</param>
    public void Post(Action work, Action<Exception> giveUp)
    {
        _posted.Enqueue((work, giveUp));
        if (Interlocked.Exchange(ref _wakePending, 1) == 0)
            _wake.Set();
        if (Volatile.Read(ref _over) != 0)
            RunLeft();
    }

    private void RunLeft()
    {
        lock (_leftGate)
        {
            while (_posted.TryDequeue(out var posted))
                Run(posted.Work, posted.GiveUp);
            // Who waited for room or for a stream of a session that ends here learns of it by a turn.
            while (_dirty.Count > 0 || _turns.Count > 0)
            {
                ServeDirty();
                TakeTurns();
            }
        }
    }

    private void RunPosted()
    {
        Volatile.Write(ref _wakePending, 0);
        // What is posted meanwhile wakes the loop again.
        for (var left = _posted.Count; left > 0 && _posted.TryDequeue(out var posted); left--)
            Run(posted.Work, posted.GiveUp);
        if (!_posted.IsEmpty && Interlocked.Exchange(ref _wakePending, 1) == 0)
            _wake.Set();
    }

    /// <summary>One fault costs what it happened to, never the loop.</summary>
    private void Run(Action work, Action<Exception> giveUp)
    {
        try
        {
            work();
        }
        catch (Exception e)
        {
            Fault(e);
            GiveUp(giveUp, e);
        }
    }

    /// <summary>As <see cref="Run"/>, without an object for each call: pass a static lambda.</summary>
    private void Guard<T>(T subject, Action<T> call)
        where T : IFallible
    {
        try
        {
            call(subject);
        }
        catch (Exception e)
        {
            GiveUp(subject, e);
        }
    }

    private void GiveUp(IFallible subject, Exception reason)
    {
        Fault(reason);
        GiveUp(subject.OnFault, reason);
    }

    private void GiveUp(Action<Exception> giveUp, Exception reason)
    {
        try
        {
            giveUp(reason);
        }
        catch (Exception e)
        {
            Fault(e);
        }
    }

    /// <summary>From any thread.</summary>
    internal void Fault(Exception fault)
    {
        if (_faulted is { } faulted)
            faulted(fault);
        else
            LoopLog.LogFault(_logger, Name, fault);
    }
}
