namespace EdgeMesh.Fairness;

/// <summary>What one share has of one kind, and its neighbours among those that have as much.</summary>
internal sealed class Standing(Share share)
{
    internal Share Share { get; } = share;

    internal int Count { get; set; }

    internal Standing? Next { get; set; }

    internal Standing? Previous { get; set; }
}

/// <summary>Shares in the order of what they have. Each change is one more or one less, so that all of it is O(1): a flood
/// that asks for the heaviest of ten thousand clients at every connection must not cost a look at each.</summary>
internal sealed class ShareRanking
{
    // By what they have; nobody stands at 0.
    private Standing?[] _firsts = new Standing?[16];
    private int _most;

    /// <summary>One of those that have most; null when nobody has any.</summary>
    internal Share? Heaviest => _firsts[_most]?.Share;

    internal void Add(Standing standing)
    {
        Unlink(standing);
        standing.Count++;
        Link(standing);
        _most = Math.Max(_most, standing.Count);
    }

    internal void Take(Standing standing)
    {
        Unlink(standing);
        standing.Count--;
        Link(standing);
        // It stood alone at the top, and stands one below now.
        if (_firsts[_most] is null && _most > 0)
            _most--;
    }

    private void Link(Standing standing)
    {
        if (standing.Count == 0)
            return;
        if (standing.Count >= _firsts.Length)
            Array.Resize(ref _firsts, _firsts.Length * 2);
        ref var first = ref _firsts[standing.Count];
        standing.Next = first;
        if (first is not null)
            first.Previous = standing;
        first = standing;
    }

    private void Unlink(Standing standing)
    {
        if (standing.Count == 0)
            return;
        if (standing.Next is not null)
            standing.Next.Previous = standing.Previous;
        if (standing.Previous is not null)
            standing.Previous.Next = standing.Next;
        else
            _firsts[standing.Count] = standing.Next;
        standing.Next = standing.Previous = null;
    }
}
