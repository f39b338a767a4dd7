namespace EdgeMesh.LibP2P.Connections;

/// <summary>The dialer went away in the moment in which it saw who this side is: it had expected somebody else.</summary>
public sealed class IdentityRefusedException() : PeerProtocolException("the peer closed the connection when it saw this side's identity");
