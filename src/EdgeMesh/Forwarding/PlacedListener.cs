using EdgeMesh.Linux.Sockets;

namespace EdgeMesh.Forwarding;

/// <param name="Place">Among this process's listeners of the same address, in the order in which they began to listen.</param>
internal readonly record struct PlacedListener(TcpListenSocket Socket, int Place);
