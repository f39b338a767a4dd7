using System.Buffers.Binary;
using System.Runtime.InteropServices;
using EdgeMesh.Net;

namespace EdgeMesh.Linux.Sockets;

/// <summary>Reads and writes <c>sockaddr_in</c> and <c>sockaddr_in6</c> (ip(7), ipv6(7)).</summary>
internal static class SockAddr
{
    internal const int AF_INET = 2;
    internal const int AF_INET6 = 10;

    /// <summary>Large enough for both families.</summary>
    internal const int MaxSize = 28;

    private const int SizeV4 = 16;

    internal static int Family(InetAddress address) => address.IsIPv6 ? AF_INET6 : AF_INET;

    /// <summary>Returns the number of bytes written, 16 or 28.</summary>
    internal static int Write(InetEndpoint endpoint, Span<byte> destination)
    {
        destination[..MaxSize].Clear();
        var family = (ushort)Family(endpoint.Address);
        MemoryMarshal.Write(destination, in family);
        BinaryPrimitives.WriteUInt16BigEndian(destination[2..], endpoint.Port);
        endpoint.Address.WriteBytes(destination[(endpoint.Address.IsIPv6 ? 8 : 4)..]);
        return endpoint.Address.IsIPv6 ? MaxSize : SizeV4;
    }

    internal static bool TryRead(ReadOnlySpan<byte> source, out InetEndpoint endpoint)
    {
        endpoint = default;
        if (source.Length < SizeV4)
            return false;
        var port = BinaryPrimitives.ReadUInt16BigEndian(source[2..]);
        switch (MemoryMarshal.Read<ushort>(source))
        {
            case AF_INET:
                endpoint = new InetEndpoint(InetAddress.FromBytes(source.Slice(4, 4)), port);
                return true;
            case AF_INET6 when source.Length >= 24:
                endpoint = new InetEndpoint(InetAddress.FromBytes(source.Slice(8, 16)), port);
                return true;
            default:
                return false;
        }
    }
}
