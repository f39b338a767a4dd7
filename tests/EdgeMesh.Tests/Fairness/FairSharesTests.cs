using EdgeMesh.Fairness;
using EdgeMesh.Linux;
using EdgeMesh.Net;
using Xunit;

namespace EdgeMesh.Tests.Fairness;

public sealed class FairSharesTests
{
    private const int Limit = 800;
    private readonly FairShares _shares = new();
    private readonly Share _shop = new(isService: true);
    private readonly Share _mail = new(isService: true);
    private readonly List<Member> _members = [];

    [Fact]
    public void WhoeverIsAloneMayHaveTheWholeLimitAndNoMore()
    {
        Assert.Equal(Limit, Fill("10.0.0.1", _shop, Limit + 100));
        Assert.False(TryEnter("10.0.0.1", _shop, out var givesWay));
        Assert.Null(givesWay);
    }

    [Fact]
    public void ANewcomerTakesThePlaceThatWasIdleLongestOfWhoHasMost()
    {
        Fill("10.0.0.1", _shop, Limit);
        var idle = _members[40];
        idle.LastActive = -1;
        for (var i = 0; i < 20; i++)
            Assert.True(TryEnter("10.0.0.2", _mail, out _));
        Assert.Equal(20, Held("10.0.0.2"));
        Assert.Equal(Limit - 20, Held("10.0.0.1"));
        Assert.DoesNotContain(idle, _members);
    }

    [Fact]
    public void TheLastPlacesAreForThoseBelowTheirShare()
    {
        Enter("10.0.0.2", _mail);
        Assert.Equal(Limit - (Limit / 8) - 1, Fill("10.0.0.1", _shop, Limit));
        Assert.True(TryEnter("10.0.0.2", _mail, out var givesWay));
        Assert.Null(givesWay);
    }

    [Fact]
    public void OneClientOfManyAtOneServiceGivesWayToTheOthersOfTheSameService()
    {
        Fill("10.0.0.1", _shop, Limit);
        for (var i = 2; i < 100; i++)
            Assert.True(TryEnter($"10.0.0.{i}", _shop, out _));
        Assert.Equal(Limit - 98, Held("10.0.0.1"));
    }

    [Fact]
    public void AServiceThatManyAddressesFillGivesWayToOthers()
    {
        for (var i = 0; i < Limit; i++)
            Enter($"10.1.0.{i % 100}", _shop);
        for (var i = 0; i < 12; i++)
            Assert.True(TryEnter("10.0.0.1", _mail, out _));
        Assert.Equal(12, Held("10.0.0.1"));
    }

    [Fact]
    public void WhoHasMostGetsNobodysPlace()
    {
        Fill("10.0.0.1", _shop, Limit);
        for (var i = 0; i < 10; i++)
            TryEnter("10.0.0.2", _mail, out _);
        Assert.False(TryEnter("10.0.0.1", _shop, out _));
        Assert.False(TryEnter("10.0.0.1", _mail, out _) && Held("10.0.0.2") < 10);
    }

    [Fact]
    public void SharesEvenOutHoweverOftenEachAsks()
    {
        var clients = Enumerable.Range(1, 8).Select(i => $"10.0.0.{i}").ToArray();
        var random = new Random(7);
        for (var i = 0; i < 20_000; i++)
            TryEnter(clients[random.Next(8) < 7 ? 0 : random.Next(8)], _shop, out _);
        Assert.All(clients, client => Assert.InRange(Held(client), (Limit / 8) - 2, (Limit / 8) + 16));
    }

    [Fact]
    public void PendingDialsOfADeadServiceGiveWayAndEstablishedConnectionsDoNot()
    {
        for (var i = 0; i < Limit; i++)
            _shares.BeginPending(Enter("10.0.0.1", _shop));
        var established = Enter("10.0.0.1", _shop);
        Assert.True(_shares.MayEnter(Address("10.0.0.2"), _mail, Limit, Limit, 1, pending: true, out var givesWay));
        Assert.NotNull(givesWay);
        Assert.NotSame(established, givesWay);
        Assert.False(_shares.MayEnter(Address("10.0.0.1"), _shop, Limit, Limit, 1, pending: true, out _));
    }

    [Fact]
    public void APendingDialIsFoundBehindHoweverManyEstablishedConnectionsOfItsClient()
    {
        for (var i = 0; i < 5_000; i++)
            Enter("10.0.0.1", _shop);
        for (var i = 0; i < 100; i++)
            _shares.BeginPending(Enter("10.0.0.1", _shop));
        for (var i = 0; i < 20; i++)
        {
            Assert.True(_shares.MayEnter(Address("10.0.0.2"), _mail, 100, 100, 1, pending: true, out var givesWay));
            Assert.True(givesWay!.IsPending);
            Leave((Member)givesWay);
        }
    }

    [Fact]
    public void TheHeaviestIsTheHeaviestHoweverSharesComeAndGo()
    {
        var random = new Random(11);
        for (var i = 0; i < 20_000; i++)
        {
            if (_members.Count > 0 && random.Next(100) < 48)
                Leave(_members[random.Next(_members.Count)]);
            else
                Enter($"10.0.0.{random.Next(40)}", random.Next(3) > 0 ? _shop : _mail);
            if (i % 100 > 0 || _members.Count == 0)
                continue;
            // Against a look at all of them.
            var clients = _members.GroupBy(member => member.Client).ToList();
            var services = _members.GroupBy(member => member.OfService).ToList();
            var most = Math.Max(clients.Max(c => c.Count()) * clients.Count, services.Max(s => s.Count()) * services.Count);
            var found = _shares.LeastMissed()!;
            Assert.Equal(most, Math.Max(found.OfClient!.Count * clients.Count, found.OfService!.Count * services.Count));
        }
    }

    [Fact]
    public void ClientsThatAreGoneAreForgotten()
    {
        for (var i = 0; i < 20_000; i++)
            Leave(Enter($"10.{i >> 16}.{(i >> 8) & 255}.{i & 255}", _shop));
        Assert.Equal(0, _shares.Clients);
        Fill("10.0.0.1", _shop, 5);
        Assert.Equal(1, _shares.Clients);
    }

    private int Fill(string client, Share service, int count)
    {
        var entered = 0;
        for (; entered < count && TryEnter(client, service, out _); entered++)
        {
            // Up to what it gets.
        }

        return entered;
    }

    private bool TryEnter(string client, Share service, out ShareMember? givesWay)
    {
        if (!_shares.MayEnter(Address(client), service, _members.Count, Limit, 1, pending: false, out givesWay))
            return false;
        if (givesWay is not null)
            Leave((Member)givesWay);
        Enter(client, service);
        return true;
    }

    private Member Enter(string client, Share service)
    {
        var member = new Member(client) { LastActive = _members.Count };
        _shares.Enter(member, Address(client), service);
        _members.Add(member);
        return member;
    }

    private void Leave(Member member)
    {
        _shares.Leave(member);
        _members.Remove(member);
    }

    private int Held(string client) => _members.Count(member => member.Client == client);

    private static InetAddress Address(string text) => InetAddress.From(System.Net.IPAddress.Parse(text));

    private sealed class Member(string client) : ShareMember
    {
        public string Client { get; } = client;
    }
}
