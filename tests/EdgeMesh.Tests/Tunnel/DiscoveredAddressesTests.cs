using EdgeMesh.Net;
using EdgeMesh.Testing;
using EdgeMesh.Tunnel.Sessions;
using Xunit;

namespace EdgeMesh.Tests.Tunnel;

public sealed class DiscoveredAddressesTests
{
    private readonly DiscoveredAddresses _held = new();

    [Fact]
    public void ATrueAddressHasItsTurnAmongAnyNumberOfFalseOnes()
    {
        for (var i = 0; i < 200; i++)
            _held.Offer(At(i));
        _held.Offer(At(1_000));
        for (var round = 0; ; round++)
        {
            Assert.True(round <= 200 / 16);
            // They are told again and again meanwhile.
            for (var i = 0; i < 200; i++)
                Assert.False(_held.Offer(At(i)));
            if (_held.Next(16).Contains(At(1_000)))
                break;
        }
    }

    [Fact]
    public void WhoHasNotHadItsTurnKeepsItsPlace()
    {
        Assert.True(_held.Offer(At(0)));
        for (var i = 1; i < 10_000; i++)
            Assert.Equal(i < DiscoveredAddresses.MaxHeld, _held.Offer(At(i)));
        Assert.Equal([At(0)], _held.Next(1));
        Assert.True(_held.Offer(At(10_000)));
        Assert.Equal(DiscoveredAddresses.MaxHeld, _held.Count);
        Assert.DoesNotContain(At(0), _held.Next(DiscoveredAddresses.MaxHeld));
    }

    [Fact]
    public void EachHasAnotherTurnAfterAllOthers()
    {
        for (var i = 0; i < 4; i++)
            _held.Offer(At(i));
        Assert.Equal([At(0), At(1), At(2)], _held.Next(3));
        Assert.Equal([At(3), At(0), At(1)], _held.Next(3));
    }

    [Fact]
    public void AnAllowanceIsUsedUpAndComesBack()
    {
        var time = new ManualTime();
        var allowance = new DialAllowance(time);
        Assert.Equal(DialAllowance.Burst, allowance.Take(10_000));
        Assert.Equal(0, allowance.Take(1));
        time.Advance(TimeSpan.FromSeconds(1));
        Assert.Equal(DialAllowance.PerSecond, allowance.Take(10_000));
    }

    private static InetEndpoint At(int number) => new(InetAddress.FromBytes([10, 0, (byte)(number >> 8), (byte)number]), 20006);
}
