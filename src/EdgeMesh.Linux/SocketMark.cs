using System.Buffers.Binary;
using System.Net.Sockets;

namespace EdgeMesh.Linux;

/// <summary>SO_MARK (socket(7)): packets of the socket carry the mark, and rules can know them by it.</summary>
public static class SocketMark
{
    private const int SOL_SOCKET = 1;
    private const int SO_MARK = 36;

    /// <returns>False without CAP_NET_ADMIN; the socket works all the same.</returns>
    public static bool TrySet(Socket socket, uint mark)
    {
        ArgumentNullException.ThrowIfNull(socket);
        Span<byte> value = stackalloc byte[4];
        if (BitConverter.IsLittleEndian)
            BinaryPrimitives.WriteUInt32LittleEndian(value, mark);
        else
            BinaryPrimitives.WriteUInt32BigEndian(value, mark);
        try
        {
            socket.SetRawSocketOption(SOL_SOCKET, SO_MARK, value);
            return true;
        }
        catch (SocketException)
        {
            return false;
        }
    }
}
