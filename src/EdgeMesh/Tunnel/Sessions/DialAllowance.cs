using EdgeMesh.LibP2P.Admission;

namespace EdgeMesh.Tunnel.Sessions;

/// <summary>How many dials somebody may have this node make who has proved nothing, whatever he says and however often.</summary>
internal sealed class DialAllowance(TimeProvider time)
{
    internal const int Burst = 64;
    internal const int PerSecond = 16;

    private readonly Lock _gate = new();
    private TokenBucket _bucket = new(Burst, PerSecond);

    /// <returns>How many of those that are wanted may be made now.</returns>
    internal int Take(int wanted)
    {
        lock (_gate)
        {
            var taken = 0;
            while (taken < wanted && _bucket.TryTake(time))
                taken++;
            return taken;
        }
    }
}
