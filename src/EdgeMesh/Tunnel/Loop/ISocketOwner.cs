using EdgeMesh.Linux.Sockets;

namespace EdgeMesh.Tunnel.Loop;

/// <summary>What the loop calls, on its thread. One that fails is given up alone.</summary>
internal interface IFallible
{
    /// <summary>A call failed in a way that nobody foresaw: give up what it was for.</summary>
    void OnFault(Exception exception);
}

/// <summary>Whose socket is registered at the loop: a transport during its handshake, a session, a local socket of a stream.
/// All calls come on the loop's thread.</summary>
internal interface ISocketOwner : IFallible
{
    /// <summary>The socket is registered edge-triggered for everything: each change is told once.</summary>
    void OnReady(EpollEvents events);
}

/// <summary>Has more to do than one turn of the loop allows, or waits for room to send.</summary>
internal interface ITurnTaker : IFallible
{
    /// <summary>No longer of interest: whoever waits need not be kept in mind.</summary>
    bool IsOver { get; }

    /// <summary>Called once for each <see cref="TunnelLoop.TakeTurnLater"/>, after all others had theirs.</summary>
    void OnTurn();
}

/// <summary>Has ended, and waits until what was sent before has been delivered.</summary>
internal interface IDelivery : IFallible
{
    /// <summary>On each tick: looks whether it has been, or never will be.</summary>
    /// <returns>False: there is nothing to wait for any more.</returns>
    bool LookAtDelivery();
}
