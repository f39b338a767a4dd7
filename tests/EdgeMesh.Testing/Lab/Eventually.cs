using System.Diagnostics;
using System.Runtime.CompilerServices;

namespace EdgeMesh.Testing.Lab;

/// <summary>Waits for a condition instead of for a time. The only place in the tests that lets time pass.</summary>
public static class Eventually
{
    private static readonly TimeSpan _pause = TimeSpan.FromMilliseconds(10);
    private static readonly TimeSpan _longestPause = TimeSpan.FromMilliseconds(100);

    /// <summary>Looks again and again until <paramref name="holds"/> is true of what <paramref name="look"/> returns.
    /// An exception of <paramref name="look"/> counts as "not yet".</summary>
    /// <returns>What was seen when it held.</returns>
    /// <exception cref="TimeoutException">It did not hold in time; the message shows what was seen last.</exception>
    public static async Task<T> SeesAsync<T>(
        Func<Task<T>> look,
        Func<T, bool> holds,
        TimeSpan deadline,
        [CallerArgumentExpression(nameof(holds))] string expected = "")
    {
        deadline = deadline.Here();
        var watch = Stopwatch.StartNew();
        string last;
        do
        {
            var begun = watch.Elapsed;
            try
            {
                var seen = await look();
                if (holds(seen))
                    return seen;
                last = Convert.ToString(seen) ?? "(nothing)";
            }
            catch (Exception e) when (e is not OutOfMemoryException)
            {
                last = $"{e.GetType().Name}: {e.Message}";
            }

            // A look that starts a program leaves at least half of the processor to what it waits for.
            var took = watch.Elapsed - begun;
            await PauseAsync(took < _pause ? _pause : took < _longestPause ? took : _longestPause);
        }
        while (watch.Elapsed < deadline);

        throw new TimeoutException($"Within {deadline.TotalSeconds:0.###} s it never came to: {expected}\nSeen last:\n{last}");
    }

    public static Task<T> SeesAsync<T>(Func<T> look, Func<T, bool> holds, TimeSpan deadline, [CallerArgumentExpression(nameof(holds))] string expected = "") =>
        SeesAsync(() => Task.FromResult(look()), holds, deadline, expected);

    public static Task HoldsAsync(Func<Task<bool>> condition, TimeSpan deadline, [CallerArgumentExpression(nameof(condition))] string expected = "") =>
        SeesAsync(condition, seen => seen, deadline, expected);

    public static Task HoldsAsync(Func<bool> condition, TimeSpan deadline, [CallerArgumentExpression(nameof(condition))] string expected = "") =>
        SeesAsync(condition, seen => seen, deadline, expected);

    /// <summary>Asserts that something stays true for a while: "never" seen over a period, which only time can show.</summary>
    public static async Task StaysAsync<T>(Func<Task<T>> look, Func<T, bool> holds, TimeSpan period, [CallerArgumentExpression(nameof(holds))] string expected = "")
    {
        var watch = Stopwatch.StartNew();
        do
        {
            var seen = await look();
            if (!holds(seen))
                throw new InvalidOperationException($"After {watch.Elapsed.TotalSeconds:0.00} s it no longer held: {expected}\nSeen:\n{seen}");
            await PauseAsync(_pause * 5);
        }
        while (watch.Elapsed < period);
    }

    private static async Task PauseAsync(TimeSpan pause)
    {
        using var timer = new PeriodicTimer(pause);
        await timer.WaitForNextTickAsync();
    }
}
