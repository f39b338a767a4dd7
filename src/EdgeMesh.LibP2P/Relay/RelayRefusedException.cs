namespace EdgeMesh.LibP2P.Relay;

/// <summary>A relay, or the peer behind it, said no.</summary>
public sealed class RelayRefusedException(RelayStatus status) : IOException($"the relay refused: {status}")
{
    /// <summary>Why.</summary>
    public RelayStatus Status => status;
}
