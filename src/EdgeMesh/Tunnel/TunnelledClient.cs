namespace EdgeMesh.Tunnel;

/// <summary>One accepted connection on its way into the tunnel.</summary>
public sealed class TunnelledClient
{
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
}
