using System.Net.Sockets;
using System.Runtime.InteropServices;

namespace EdgeMesh.Linux;

/// <summary>Who is at the other end of a unix socket (SO_PEERCRED, unix(7)): the kernel says so, not the peer.</summary>
/// <param name="ProcessId">0 where this process cannot see it.</param>
public readonly partial record struct PeerCredentials(int ProcessId, uint UserId)
{
    private const int SOL_SOCKET = 1;
    private const int SO_PEERCRED = 17;

    /// <summary>Root, or the user of this process.</summary>
    public bool IsTrusted => UserId == 0 || UserId == OwnUser;

    /// <summary>The user of this process.</summary>
    public static uint OwnUser => EffectiveUserId();

    /// <exception cref="SocketException">The socket is not a connected unix socket.</exception>
    public static PeerCredentials Of(Socket socket)
    {
        ArgumentNullException.ThrowIfNull(socket);
        Span<byte> value = stackalloc byte[12];
        socket.GetRawSocketOption(SOL_SOCKET, SO_PEERCRED, value);
        return new PeerCredentials(MemoryMarshal.Read<int>(value), MemoryMarshal.Read<uint>(value[4..]));
    }

    [LibraryImport("libc", EntryPoint = "geteuid")]
    private static partial uint EffectiveUserId();
}
