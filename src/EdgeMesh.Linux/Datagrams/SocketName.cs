using System.Buffers.Binary;
using System.Runtime.InteropServices;
using EdgeMesh.Net;

namespace EdgeMesh.Linux.Datagrams;

/// <summary>struct sockaddr_in and sockaddr_in6 (ip(7), ipv6(7)).</summary>
internal static class SocketName
{
    internal const int MaximumBytes = 28;

    /// <returns>16 or 28, the bytes written.</returns>
    internal static int Write(in InetEndpoint endpoint, Span<byte> destination)
    {
        destination = destination[..MaximumBytes];
        destination.Clear();
        var ipv6 = endpoint.Address.IsIPv6;
        MemoryMarshal.Write(destination, (ushort)(ipv6 ? DatagramCalls.AfInet6 : DatagramCalls.AfInet));
        BinaryPrimitives.WriteUInt16BigEndian(destination[2..], endpoint.Port);
        endpoint.Address.WriteBytes(destination[(ipv6 ? 8 : 4)..]);
        return ipv6 ? 28 : 16;
    }

    internal static InetEndpoint Read(ReadOnlySpan<byte> source)
    {
        var port = BinaryPrimitives.ReadUInt16BigEndian(source[2..]);
        return MemoryMarshal.Read<ushort>(source) == DatagramCalls.AfInet6
            ? new InetEndpoint(InetAddress.FromBytes(source.Slice(8, 16)), port)
            : new InetEndpoint(InetAddress.FromBytes(source.Slice(4, 4)), port);
    }
}
