namespace EdgeMesh.Tests.Tunnel;

/// <summary>The real time, and for the threads of tunnel loops as much more as a test wants: what they wait for is over at once,
/// and sessions, whose time others keep, live on.</summary>
internal sealed class LoopClock : TimeProvider
{
    private long _ahead;

    public override long GetTimestamp() => base.GetTimestamp() + (Thread.CurrentThread.Name == "edgemesh-tunnel" ? Volatile.Read(ref _ahead) : 0);

    public void Leap(TimeSpan by) => Interlocked.Add(ref _ahead, (long)(by.TotalSeconds * TimestampFrequency));
}
