namespace EdgeMesh.Tunnel;

/// <summary>What the forwarding loops need of the mesh. Every member may be called from any thread and does not wait.</summary>
public interface ITunnelDialer
{
    /// <summary>Whether a session to the node stands, or one to a relay over which the node may be found.</summary>
    bool CanReach(string node);

    /// <summary>Takes over a connection, descriptor and all.</summary>
    void Carry(TunnelledClient client);

    /// <summary>One UDP flow: one end of a <see cref="Linux.Datagrams.DatagramPair"/> whose other end is the tunnel, or a negated
    /// errno. The caller closes it, which ends the flow; the tunnel closes its own when the flow was refused, idle or lost.</summary>
    int TryOpenDatagrams(TunnelDestination destination);
}
