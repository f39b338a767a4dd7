using System.Net;
using EdgeMesh.Agent.Hosting;
using EdgeMesh.Linux;
using EdgeMesh.Net;
using EdgeMesh.Netfilter;
using Xunit;

namespace EdgeMesh.Tests.Hosting;

public sealed class BudgetAndAddressTests
{
    [Theory]
    [InlineData(1_048_576, null, 507_520, 16_384, 64)]
    [InlineData(1_048_576, 1_000, 1_000, 16_384, 64)]
    [InlineData(20_000, 100_000, 4_744, 4_872, 64)]
    [InlineData(1_024, null, 96, 128, 16)]
    [InlineData(100, null, 11, 12, 1)]
    [InlineData(30, null, 4, 3, 0)]
    [InlineData(0, null, 1, 1, 0)]
    public void DescriptorsAreSharedOut(long descriptors, int? configured, int connections, int flows, int pipes) =>
        Assert.Equal(new ConnectionBudget(connections, flows, pipes), ConnectionBudget.Of(descriptors, configured, 16_384, listeners: 2, 64, loops: 2));

    [Theory]
    [InlineData(true, true, "169.254.96.16:20007 [fd0e:6d65:7368::10]:20007")]
    [InlineData(false, true, "169.254.96.16:20007")]
    [InlineData(true, false, "169.254.96.16:20007")]
    public void AListenerPerFamilyThatDeviceAndBackendCanDo(bool device, bool backend, string expected)
    {
        var listeners = ListenerAddresses.Listeners(
            IPAddress.Parse("169.254.96.16"), 20007, device, backend ? [IpFamily.IPv4, IpFamily.IPv6] : [IpFamily.IPv4]);
        Assert.Equal(expected, string.Join(' ', listeners.Values));
    }

    [Fact]
    public void TheHeartIsStillUntilItsGateOpens()
    {
        var heart = new Counting();
        var gate = new HeartbeatGate(heart);
        gate.Beat();
        Assert.Equal(0, heart.Beats);
        gate.Open();
        gate.Beat();
        Assert.Equal(1, heart.Beats);
    }

    [Fact]
    public void ABeatThatWasAskedForCountsOnceTheKernelHasFeltIt()
    {
        var slow = new Counting { IsWritten = false };
        var gate = new HeartbeatGate(slow);
        gate.Open();
        gate.Beat();
        Assert.False(gate.HasBeaten);
        slow.IsWritten = true;
        Assert.True(gate.HasBeaten);

        // A node that was ready stays so while its rules move to another backend.
        gate.BeatOnly(new Counting());
        Assert.True(gate.HasBeaten);
    }

    [Fact]
    public void WhereRulesNeedNoHeartNothingIsWaitedForUntilOneThatDoesArrives()
    {
        var gate = new HeartbeatGate(null);
        Assert.True(gate.HasBeaten);
        gate.Open();
        gate.BeatOnly(new Counting());
        Assert.False(gate.HasBeaten);
        gate.Beat();
        Assert.True(gate.HasBeaten);
    }

    private sealed class Counting : IHeartbeat
    {
        public int Beats { get; private set; }

        public bool IsWritten { get; set; } = true;

        public bool HasBeaten => Beats > 0 && IsWritten;

        public void Beat() => Beats++;
    }
}
