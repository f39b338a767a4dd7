namespace EdgeMesh.LibP2P;

/// <summary>The peer broke a protocol, or asked for more than a limit allows. The session or stream it happened on is to be
/// ended; nothing that the peer sent appears in the message but numbers and protocol names.</summary>
public class PeerProtocolException : IOException
{
    public PeerProtocolException(string message)
        : base(message)
    {
    }

    public PeerProtocolException(string message, Exception inner)
        : base(message, inner)
    {
    }
}
