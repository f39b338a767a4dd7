namespace EdgeMesh.Tunnel.Sessions;

/// <summary>How long to wait after failures: 0.25 s doubling up to a bound, and each wait between half of that and all of it,
/// so that nodes that lost the same relay do not come back in step.</summary>
internal sealed class BackOff
{
    private static readonly TimeSpan First = TimeSpan.FromMilliseconds(250);

    private int _failures;

    internal void Succeeded() => _failures = 0;

    internal TimeSpan AfterFailure(TimeSpan longest)
    {
        var wait = First * Math.Pow(2, Math.Min(_failures++, 16));
        if (wait > longest)
            wait = longest;
#pragma warning disable CA5394 // Jitter is no secret.
        return wait * (0.5 + Random.Shared.NextDouble() / 2);
#pragma warning restore CA5394
    }
}
