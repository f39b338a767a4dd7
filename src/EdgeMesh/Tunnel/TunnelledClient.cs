namespace EdgeMesh.Tunnel;

/// <summary>One accepted connection on its way into the tunnel.</summary>
public sealed class TunnelledClient
{
    private readonly GivingWay _givingWay = new();
    private long _lastActive;

    /// <summary>The client's TCP socket, non-blocking and in no epoll set. Whoever takes this object closes it, unless it
    /// was <see cref="Refused"/>.</summary>
    public required int Descriptor { get; init; }

    /// <summary>Read from the client already; goes out with the request, in the same flight.</summary>
    public ReadOnlyMemory<byte> FirstBytes { get; init; }

    /// <summary>The client has sent all that it will.</summary>
    public bool Ended { get; init; }

    public required TunnelDestination Destination { get; init; }

    /// <summary>Told from any thread when the destination did not take it: the descriptor is the giver's again, and none of its
    /// bytes has reached an endpoint. Must not wait. Either this or <see cref="Finished"/>, once.</summary>
    public required Action<TunnelRefusal> Refused { get; init; }

    /// <summary>Told from any thread when the descriptor is closed. Must not wait.</summary>
    public required Action<TunnelOutcome> Finished { get; init; }

    /// <summary>When its bytes last moved, in milliseconds of the agent's clock; 0 before the first did. Kept by whoever took it,
    /// for any thread.</summary>
    public long LastActive
    {
        get => Volatile.Read(ref _lastActive);
        set => Volatile.Write(ref _lastActive, value);
    }

    /// <summary>From any thread: its place is wanted for others. Whoever took it closes it, and tells the end as any other.</summary>
    public void GiveWay() => _givingWay.Ask();

    /// <summary>By whoever takes it: called, on any thread, once the place is wanted; at once if it already is.</summary>
    public void OnGivingWay(Action close) => _givingWay.WhenAsked(close);
}
