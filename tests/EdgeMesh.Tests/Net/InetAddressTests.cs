using System.Net;
using System.Runtime.CompilerServices;
using System.Text;
using EdgeMesh.Net;
using Xunit;

namespace EdgeMesh.Tests.Net;

public sealed class InetAddressTests
{
    [Theory]
    [InlineData("0.0.0.0", IpFamily.IPv4)]
    [InlineData("10.244.1.5", IpFamily.IPv4)]
    [InlineData("255.255.255.255", IpFamily.IPv4)]
    [InlineData("::", IpFamily.IPv6)]
    [InlineData("::1", IpFamily.IPv6)]
    [InlineData("::10.1.2.3", IpFamily.IPv6)]
    [InlineData("::fffe:10.1.2.3", IpFamily.IPv6)]
    [InlineData("64:ff9b::10.1.2.3", IpFamily.IPv6)]
    [InlineData("fd0e:6d65:7368::10", IpFamily.IPv6)]
    [InlineData("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", IpFamily.IPv6)]
    public void AnAddressKeepsItsFamilyItsBytesAndItsText(string text, IpFamily family)
    {
        var address = InetAddress.Parse(text);

        Assert.Equal(family, address.Family);
        Assert.Equal(IPAddress.Parse(text), address.ToIPAddress());
        Assert.Equal(IPAddress.Parse(text).ToString(), $"{address}");
        Assert.Equal(address, new InetAddress(address.Bits, address.IsIPv6));
        Assert.Equal(address, address with { Bits = address.Bits });
        var utf8 = new byte[45];
        Assert.True(address.TryFormat(utf8, out var written, default, null));
        Assert.Equal(address.ToString(), Encoding.UTF8.GetString(utf8, 0, written));
    }

    [Fact]
    public void AMappedAddressIsTheIPv4AddressThatItStandsFor()
    {
        Assert.Equal(InetAddress.Parse("10.1.2.3"), InetAddress.Parse("::ffff:10.1.2.3"));
        Assert.Equal(InetAddress.Parse("0.0.0.0"), InetAddress.Parse("::ffff:0.0.0.0"));
    }

    [Fact]
    public void ABufferThatIsTooShortIsRefusedAndNothingThrows()
    {
        foreach (var endpoint in (InetEndpoint[])[InetEndpoint.Parse("10.244.1.5:8080"), InetEndpoint.Parse("[fd00::1]:8080")])
        {
            var text = endpoint.ToString();
            for (var length = 0; length < text.Length; length++)
            {
                Assert.False(endpoint.TryFormat(new char[length], out _, default, null));
                Assert.False(endpoint.TryFormat(new byte[length], out _, default, null));
            }
        }
    }

    [Fact]
    public void AnAddressIs16BytesAndAnEndpoint24()
    {
        Assert.Equal(16, Unsafe.SizeOf<InetAddress>());
        Assert.Equal(24, Unsafe.SizeOf<InetEndpoint>());
        Assert.Equal(32, Unsafe.SizeOf<TransportAddress>());
    }

    [Fact]
    public void AddressesWithAndWithoutEqualHalvesHashApart()
    {
        var hashes = Enumerable.Range(0, 65_536).Select(i => new InetEndpoint(InetAddress.FromBytes([10, 1, (byte)(i >> 8), (byte)i]), 80).GetHashCode());
        Assert.True(hashes.Distinct().Count() > 65_000);
    }
}
