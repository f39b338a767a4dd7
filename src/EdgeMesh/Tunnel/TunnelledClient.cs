namespace EdgeMesh.Tunnel;

/// <summary>One accepted connection on its way into the tunnel.</summary>
public sealed class TunnelledClient
{
    /// <summary>The client's TCP socket, non-blocking and in no epoll set. Whoever takes this object closes it.</summary>
    public required int Descriptor { get; init; }

    /// <summary>Read from the client already; goes out with the request, in the same flight.</summary>
    public ReadOnlyMemory<byte> FirstBytes { get; init; }

    /// <summary>The client has sent all that it will.</summary>
    public bool Ended { get; init; }

    /// <summary>The first to try.</summary>
    public required TunnelDestination Destination { get; init; }

    /// <summary>Asked for another destination after a refusal, from any thread; null: the client is reset.</summary>
    public required Func<TunnelDestination, TunnelRefusal, TunnelDestination?> Next { get; init; }

    /// <summary>Told once, from any thread, when the descriptor is closed.</summary>
    public required Action<TunnelOutcome> Finished { get; init; }
}
