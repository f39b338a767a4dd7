using System.Buffers.Binary;
using System.Net;
using System.Net.Sockets;

namespace EdgeMesh.LibP2P.Admission;

/// <summary>Whose share of the places a connection comes out of: one IPv4 address, or one IPv6 /64, which is what one host can
/// have to itself.</summary>
public readonly record struct AddressShare(UInt128 Value)
{
    private static readonly UInt128 Mapped = (UInt128)0xFFFF << 32;

    public static AddressShare OfIPv4(uint address) => new(Mapped | address);

    public static AddressShare OfIPv6(UInt128 address) =>
        address >> 32 == Mapped >> 32 ? new(address) : new(address & ~(UInt128)ulong.MaxValue);

    public static AddressShare Of(IPAddress address)
    {
        ArgumentNullException.ThrowIfNull(address);
        Span<byte> bytes = stackalloc byte[16];
        address.TryWriteBytes(bytes, out _);
        return address.AddressFamily == AddressFamily.InterNetwork
            ? OfIPv4(BinaryPrimitives.ReadUInt32BigEndian(bytes))
            : OfIPv6(BinaryPrimitives.ReadUInt128BigEndian(bytes));
    }
}
