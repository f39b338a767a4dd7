namespace EdgeMesh.Tunnel;

/// <summary>Why a peer could not be talked to, as people read it.</summary>
internal static class PeerFault
{
    /// <summary>The runtime says of a deadline only that something was cancelled.</summary>
    public static string Of(Exception fault) => fault is OperationCanceledException ? "it did not answer in time" : fault.Message;
}
