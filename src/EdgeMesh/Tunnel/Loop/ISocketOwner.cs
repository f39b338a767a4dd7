using EdgeMesh.Linux.Sockets;

namespace EdgeMesh.Tunnel.Loop;

/// <summary>Whose socket is registered at the loop: a transport during its handshake, a session, a local socket of a stream.
/// All calls come on the loop's thread.</summary>
internal interface ISocketOwner
{
    /// <summary>The socket is registered edge-triggered for everything: each change is told once.</summary>
    void OnReady(EpollEvents events);

    /// <summary>A call failed in a way that nobody foresaw: give the socket up.</summary>
    void OnFault(Exception exception);
}

/// <summary>Has more to do than one turn of the loop allows, or waits for room to send.</summary>
internal interface ITurnTaker
{
    /// <summary>No longer of interest: whoever waits need not be kept in mind.</summary>
    bool IsOver { get; }

    /// <summary>Called once for each <see cref="TunnelLoop.TakeTurnLater"/>, after all others had theirs.</summary>
    void OnTurn();

    /// <inheritdoc cref="ISocketOwner.OnFault"/>
    void OnFault(Exception exception);
}

/// <summary>Has ended, and waits until what was sent before has been delivered.</summary>
internal interface IDelivery
{
    /// <summary>On each tick: looks whether it has been, or never will be.</summary>
    /// <returns>False: there is nothing to wait for any more.</returns>
    bool LookAtDelivery();

    /// <inheritdoc cref="ISocketOwner.OnFault"/>
    void OnFault(Exception exception);
}
