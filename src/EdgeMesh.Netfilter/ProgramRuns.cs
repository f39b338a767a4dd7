namespace EdgeMesh.Netfilter;

/// <summary>The packet filter's programs that run at this moment, and for how long any has run so far: who waits for a program
/// that hangs does not hang itself.</summary>
/// <param name="started">Told the id of each process as it starts, so that what it changes can be told from what others change.</param>
public sealed class ProgramRuns(TimeProvider time, Action<int>? started = null)
{
    private readonly Lock _gate = new();

    // The one that has run longest first.
    private readonly LinkedList<Run> _running = [];
    private long _ended;
    private long _busySince;

    /// <summary>For how long at least one has run, all in all.</summary>
    public TimeSpan Total
    {
        get
        {
            lock (_gate)
                return new TimeSpan(_ended) + (_running.Count > 0 ? time.GetElapsedTime(_busySince) : TimeSpan.Zero);
        }
    }

    /// <summary>The one that has run longest; null while none does.</summary>
    public RunningProgram? Longest
    {
        get
        {
            lock (_gate)
                return _running.First?.Value is { } run ? new RunningProgram(run.Shown, time.GetElapsedTime(run.Since)) : null;
        }
    }

    /// <param name="process">Its id.</param>
    /// <param name="shown">Program and arguments, for people.</param>
    /// <returns>To be disposed when it has ended.</returns>
    internal IDisposable Begin(int process, string shown)
    {
        started?.Invoke(process);
        lock (_gate)
        {
            var run = new Run(this, shown, time.GetTimestamp());
            if (_running.Count == 0)
                _busySince = run.Since;
            _running.AddLast(run);
            return run;
        }
    }

    private void End(Run run)
    {
        lock (_gate)
        {
            if (_running.Remove(run) && _running.Count == 0)
                _ended += time.GetElapsedTime(_busySince).Ticks;
        }
    }

    private sealed class Run(ProgramRuns all, string shown, long since) : IDisposable
    {
        public string Shown => shown;

        public long Since => since;

        public void Dispose() => all.End(this);
    }
}

/// <param name="Program">With its arguments.</param>
public sealed record RunningProgram(string Program, TimeSpan For);
