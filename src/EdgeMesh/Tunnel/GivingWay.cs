namespace EdgeMesh.Tunnel;

/// <summary>The word that a place is wanted for others, from whoever decides it to whoever has it, in whichever order the two
/// come. Any thread.</summary>
internal sealed class GivingWay
{
    private static readonly Action _asked = static () => { };

    private Action? _close;

    /// <summary>The place is wanted.</summary>
    internal void Ask() => Interlocked.Exchange(ref _close, _asked)?.Invoke();

    /// <summary>What to do once it is, which may be at once. For the first who says it.</summary>
    internal void WhenAsked(Action close)
    {
        if (ReferenceEquals(Interlocked.CompareExchange(ref _close, close, null), _asked))
            close();
    }
}
