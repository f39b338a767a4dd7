using System.Runtime.ExceptionServices;

namespace EdgeMesh.Kubernetes;

/// <summary>Loops that only make sense all at once. Waiting for all of them would never learn that one has failed while the
/// others go on, and the source would stand still with nobody to begin it again.</summary>
internal static class Together
{
    /// <summary>Ends when all have ended. The first that fails cancels the others, and its fault is thrown.</summary>
    public static async Task RunAsync(CancellationToken cancellationToken, params Func<CancellationToken, Task>[] loops)
    {
        using var running = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        ExceptionDispatchInfo? first = null;
        await Task.WhenAll(loops.Select(async loop =>
        {
            try
            {
                await loop(running.Token);
            }
            catch (Exception fault)
            {
                Interlocked.CompareExchange(ref first, ExceptionDispatchInfo.Capture(fault), null);
                await running.CancelAsync();
            }
        }));
        first?.Throw();
    }
}
