namespace EdgeMesh.LibP2P.Connections;

/// <summary>The stream was given up, here or by the peer, while its connection stands.</summary>
public sealed class StreamResetException(string message) : IOException(message);
