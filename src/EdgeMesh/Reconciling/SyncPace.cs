namespace EdgeMesh.Reconciling;

/// <summary>How long the loop rests after a round. Changes that come now and then are applied at once, also a few in a row;
/// a stream of changes takes one sync per <see cref="Interval"/> and a fifth of a core at most, however long one round takes.</summary>
/// <remarks>Rest is owed for every round and paid by any time that the loop does not work. Up to <see cref="Credit"/> of it may
/// stay unpaid: that is what lets a few changes through before the stream is slowed down.</remarks>
internal sealed class SyncPace
{
    /// <summary>Changes that come within this time of each other are one sync.</summary>
    public static readonly TimeSpan LeastRest = TimeSpan.FromMilliseconds(20);

    /// <summary>What a round owes at least: the least time between two syncs of a stream.</summary>
    public static readonly TimeSpan Interval = TimeSpan.FromMilliseconds(100);

    /// <summary>Nobody waits longer than this for the next round.</summary>
    public static readonly TimeSpan LongestRest = TimeSpan.FromSeconds(2);

    public static readonly TimeSpan Credit = TimeSpan.FromSeconds(1);

    private const int RestPerWork = 4;

    private TimeSpan _owed;

    /// <param name="took">How long the round took that has just ended; zero for one that says nothing of the next.</param>
    /// <param name="idle">How long the loop had not worked before it.</param>
    public TimeSpan RestAfter(TimeSpan took, TimeSpan idle)
    {
        var paid = _owed - idle;
        var owes = took * RestPerWork;
        _owed = (paid > TimeSpan.Zero ? paid : TimeSpan.Zero) + (owes > Interval ? owes : Interval);
        if (_owed > Credit + LongestRest)
            _owed = Credit + LongestRest;
        var rest = _owed - Credit;
        return rest > LeastRest ? rest : LeastRest;
    }
}
