using System.Collections.Immutable;
using EdgeMesh.Net;
using EdgeMesh.Netfilter;
using EdgeMesh.Testing;
using Xunit;

namespace EdgeMesh.Tests.Netfilter;

public sealed class FollowingBackendTests
{
    private readonly List<string> _said = [];
    private readonly ManualTime _time = new();

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    [Fact]
    public async Task TheOldRulesGoWhenTheNewOnesStand()
    {
        var old = new Recorded("old", _said);
        var backend = new FollowingBackend(old, _time);
        await backend.SyncAsync([], Cancel);
        Offer(backend, new Recorded("new", _said));
        await backend.SyncAsync([], Cancel);
        await backend.SyncAsync([], Cancel);
        Assert.Equal(["old synced", "new synced", "arrived", "others removed", "new synced"], _said);
        Assert.Equal("new", backend.Name);
    }

    [Fact]
    public async Task TheOldRulesFollowTheClusterUntilTheNewBackendTakesThem()
    {
        var next = new Recorded("new", _said) { Fails = true };
        var backend = new FollowingBackend(new Recorded("old", _said), _time);
        Offer(backend, next);
        await Assert.ThrowsAsync<NetfilterException>(() => backend.SyncAsync([], Cancel));
        Assert.Equal(["old synced"], _said);
        Assert.Equal("old", backend.Name);
        next.Fails = false;
        await backend.SyncAsync([], Cancel);
        Assert.Equal("new", backend.Name);
    }

    [Fact]
    public async Task WhatCannotBeRemovedIsSaidAndTriedAgainAndKeepsNoRulesFromBeingInForce()
    {
        var locked = true;
        var backend = new FollowingBackend(
            new Recorded("first", _said), _time,
            _ => locked ? throw new NetfilterException("the lock is held") : Task.FromResult(ImmutableArray<string>.Empty));
        await backend.SyncAsync([], Cancel);
        Assert.Equal(["the lock is held"], backend.LeftBehind);
        locked = false;
        await backend.RepairAsync(Cancel);
        Assert.Equal(["the lock is held"], backend.LeftBehind);
        _time.Advance(TimeSpan.FromMinutes(1));
        await backend.RepairAsync(Cancel);
        Assert.Empty(backend.LeftBehind);
    }

    [Fact]
    public async Task WhereNoBackendCanBeUsedYetTheReasonIsTold()
    {
        var backend = new FollowingBackend(new WaitingBackend("another program holds the xtables lock."), _time);
        var fault = await Assert.ThrowsAsync<NetfilterException>(() => backend.SyncAsync([], Cancel));
        Assert.Contains("xtables lock", fault.Message);
        await backend.WithdrawListenersAsync(Cancel);
        Offer(backend, new Recorded("new", _said));
        await backend.SyncAsync([], Cancel);
        Assert.Equal("new", backend.Name);
    }

    private void Offer(FollowingBackend backend, IPortalBackend next) => backend.Offer(
        next,
        _ =>
        {
            _said.Add("others removed");
            return Task.FromResult(ImmutableArray<string>.Empty);
        },
        () => _said.Add("arrived"));

    private sealed class Recorded(string name, List<string> said) : IPortalBackend
    {
        public bool Fails { get; set; }

        public string Name => name;

        public ImmutableArray<IpFamily> Families => [IpFamily.IPv4];

        public Task<SyncResult> SyncAsync(IReadOnlyList<FamilyPortals> desired, CancellationToken cancellationToken)
        {
            if (Fails)
                throw new NetfilterException("refused");
            said.Add($"{name} synced");
            return Task.FromResult(new SyncResult(Changed: true, 0, 0));
        }

        public Task<RepairResult> RepairAsync(CancellationToken cancellationToken) => Task.FromResult(RepairResult.InOrder);

        public Task<ImmutableArray<JumpPosition>> InspectAsync(CancellationToken cancellationToken) => Task.FromResult(ImmutableArray<JumpPosition>.Empty);

        public Task WithdrawListenersAsync(CancellationToken cancellationToken) => Task.CompletedTask;

        public Task RemoveAsync(CancellationToken cancellationToken) => Task.CompletedTask;
    }
}
