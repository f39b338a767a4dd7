using System.Net;
using EdgeMesh.LibP2P.Connections;
using EdgeMesh.LibP2P.Cryptography;
using EdgeMesh.LibP2P.Noise;
using EdgeMesh.Tunnel;
using EdgeMesh.Tunnel.Admission;
using EdgeMesh.Tunnel.Loop;
using Microsoft.Extensions.Logging.Abstractions;
using Xunit;

namespace EdgeMesh.Tests.Tunnel.Loop;

/// <summary>Two streams that a relay joins: it dials both peers here, and a test has the far ends in its hands.</summary>
public sealed class StreamJoinTests : IAsyncDisposable
{
    private const string Protocol = "/test/1.0.0";

    private readonly MeshLab _lab = new();
    private readonly LoopClock _clock = new();
    private readonly TunnelLoop _loop;
    private readonly Doorkeeper _door;
    private readonly TunnelDriver _driver;
    private readonly List<IDisposable> _identities = [];
    private readonly List<PeerHost> _hosts = [];

    public StreamJoinTests()
    {
        _loop = new TunnelLoop(NullLogger.Instance, _clock);
        var identity = Identity();
        _door = new Doorkeeper(
            MeshLab.Keys().DeriveAdmission(identity.PeerId), TimeSpan.FromSeconds(3), new AdmissionCounts(), new KnownAddresses(_clock), new HandshakeDebts(_clock),
            new MeshFaults(NullLogger.Instance, _clock), NullLogger.Instance, _clock, fault => Assert.Fail(fault.ToString()));
        _driver = new TunnelDriver(_loop, _door, 0, _ => null);
        _hosts.Add(new PeerHost(new PeerHostOptions { Identity = identity, Security = [NoiseSession.Protocol], Driver = _driver }, NullLogger.Instance));
        _loop.Start();
        _door.Start();
    }

    [Fact]
    public async Task EachEndTravelsByItself()
    {
        var (one, other, joined) = await JoinAsync();
        await one.WriteAsync(new byte[] { 1, 2, 3 }, _lab.Token);
        one.CloseWrite();
        Assert.Equal([1, 2, 3], await ReadAllAsync(other));
        // The other direction goes on as long as it likes.
        var sent = new byte[3_000_000];
        var sending = other.WriteAsync(sent, _lab.Token);
        var rest = ReadAllAsync(one);
        await sending;
        Assert.False(joined.IsCompleted);
        other.CloseWrite();
        Assert.Equal(sent.Length, (await rest).Length);
        await joined.WaitAsync(_lab.Token);
    }

    [Fact]
    public async Task AResetTravelsBehindWhatWasSentBefore()
    {
        var (one, other, joined) = await JoinAsync();
        await one.WriteAsync(new byte[100_000], _lab.Token);
        var buffer = new byte[100_000];
        await other.ReadExactlyAsync(buffer.AsMemory(0, 1), _lab.Token);
        one.Reset();
        Assert.IsAssignableFrom<IOException>(await Record.ExceptionAsync(() => ReadAllAsync(other)));
        await Assert.ThrowsAsync<IOException>(() => joined.WaitAsync(_lab.Token));
    }

    [Fact]
    public async Task WhatIsTakenByNobodyBeforeAResetIsGivenUpAfterHalfAMinuteAndNotBefore()
    {
        var (one, other, joined) = await JoinAsync();
        // More than the other's window, so that the relay keeps the rest, and less than its own window.
        await one.WriteAsync(new byte[300_000], _lab.Token);
        one.Reset();
        _clock.Leap(TimeSpan.FromSeconds(20));
        await TickedAsync();
        Assert.False(joined.IsCompleted);
        _clock.Leap(TimeSpan.FromSeconds(20));
        await Assert.ThrowsAsync<IOException>(() => joined.WaitAsync(_lab.Token));
        Assert.IsAssignableFrom<IOException>(await Record.ExceptionAsync(() => ReadAllAsync(other)));
    }

    [Fact]
    public async Task AJoinThatHasCarriedAsMuchAsItMayEnds()
    {
        var (one, other, joined) = await JoinAsync(limit: 1_000);
        await one.WriteAsync(new byte[1_000], _lab.Token);
        await other.ReadExactlyAsync(new byte[1_000], _lab.Token);
        Assert.False(joined.IsCompleted);
        await one.WriteAsync(new byte[1], _lab.Token);
        await Assert.ThrowsAsync<IOException>(() => joined.WaitAsync(_lab.Token));
    }

    /// <summary>The loop has looked at its deliveries since.</summary>
    private async Task TickedAsync()
    {
        var ticked = new Ticked();
        var asked = new TaskCompletionSource();
        _loop.Post(() => _loop.AwaitDelivery(ticked), asked.SetException);
        await ticked.Twice.WaitAsync(_lab.Token);
    }

    private async Task<(PeerStream One, PeerStream Other, Task Joined)> JoinAsync(long? limit = null)
    {
        var (one, toOne) = await OpenAsync();
        var (other, toOther) = await OpenAsync();
        return (one, other, _driver.JoinAsync(toOne, toOther, limit, _lab.Token));
    }

    /// <summary>A stream to a peer of its own, from both of its sides.</summary>
    private async Task<(PeerStream There, PeerStream Here)> OpenAsync()
    {
        var host = new PeerHost(new PeerHostOptions { Identity = Identity(), Security = [NoiseSession.Protocol] }, NullLogger.Instance);
        _hosts.Add(host);
        var opened = new TaskCompletionSource<PeerStream>(TaskCreationOptions.RunContinuationsAsynchronously);
        host.Handle(Protocol, (stream, token) =>
        {
            opened.SetResult(stream);
            return Task.Delay(Timeout.Infinite, token);
        });
        var address = host.Listen(new IPEndPoint(IPAddress.Loopback, 0));
        var connection = await _hosts[0].DialAsync(address, _lab.Token);
        var here = await connection.OpenStreamAsync(Protocol, _lab.Token);
        return (await opened.Task.WaitAsync(_lab.Token), here);
    }

    private async Task<byte[]> ReadAllAsync(PeerStream stream)
    {
        using var all = new MemoryStream();
        await stream.CopyToAsync(all, _lab.Token);
        return all.ToArray();
    }

    private Ed25519KeyPair Identity()
    {
        var identity = Ed25519KeyPair.Create();
        _identities.Add(identity);
        return identity;
    }

    public async ValueTask DisposeAsync()
    {
        foreach (var host in Enumerable.Reverse(_hosts))
            await host.DisposeAsync();
        _door.Dispose();
        _loop.Stop();
        await _loop.Finished;
        foreach (var identity in _identities)
            identity.Dispose();
        await _lab.DisposeAsync();
    }

    private sealed class Ticked : IDelivery
    {
        private readonly TaskCompletionSource _twice = new(TaskCreationOptions.RunContinuationsAsynchronously);
        private int _times;

        public Task Twice => _twice.Task;

        public bool LookAtDelivery()
        {
            if (++_times < 2)
                return true;
            _twice.TrySetResult();
            return false;
        }

        public void OnFault(Exception exception) => _twice.TrySetException(exception);
    }
}
