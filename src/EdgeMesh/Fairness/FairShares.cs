using System.Runtime.InteropServices;
using EdgeMesh.Linux;
using EdgeMesh.Net;

namespace EdgeMesh.Fairness;

/// <summary>
/// Who may have how much of a limit, among client addresses and among services at once. One thread's; no lock.
/// Below the limit nearly everything is granted: whoever is alone may have it all. When it is nearly used up, what is left is
/// for those below their share (the limit divided by how many there are). When it is used up, whoever has most gives way to
/// those that have less: see decision 17.
/// </summary>
internal sealed class FairShares
{
    /// <summary>Members that are compared to find one that gives way: the cost of a decision is bounded.</summary>
    private const int MostCompared = 64;

    /// <summary>Clients that have nothing are remembered up to here, so that short connections cost no objects.</summary>
    private const int MostIdleClients = 4_096;

    private readonly Dictionary<InetAddress, Share> _clients = [];
    private readonly (ShareRanking Clients, ShareRanking Services) _held = (new ShareRanking(), new ShareRanking());
    private readonly (ShareRanking Clients, ShareRanking Services) _waiting = (new ShareRanking(), new ShareRanking());
    private int _clientsInUse;
    private int _servicesInUse;

    /// <summary>Client addresses that have something.</summary>
    internal int Clients => _clientsInUse;

    /// <summary>Services that have something.</summary>
    internal int Services => _servicesInUse;

    internal void Enter(ShareMember member, InetAddress client, Share service)
    {
        ref var share = ref CollectionsMarshal.GetValueRefOrAddDefault(_clients, client, out _);
        share ??= new Share(isService: false);
        (member.OfClient, member.OfService) = (share, service);
        member.PlaceInClient = share.Members.Count;
        share.Members.Add(member);
        member.PlaceInService = service.Members.Count;
        service.Members.Add(member);
        _held.Clients.Add(share.Held);
        _held.Services.Add(service.Held);
        if (share.Count == 1)
            _clientsInUse++;
        if (service.Count == 1)
            _servicesInUse++;
    }

    internal void Leave(ShareMember member)
    {
        if (member.OfClient is not { } client || member.OfService is not { } service)
            return;
        EndPending(member);
        var last = client.Members[^1];
        client.Members[member.PlaceInClient] = last;
        last.PlaceInClient = member.PlaceInClient;
        client.Members.RemoveAt(client.Members.Count - 1);
        last = service.Members[^1];
        service.Members[member.PlaceInService] = last;
        last.PlaceInService = member.PlaceInService;
        service.Members.RemoveAt(service.Members.Count - 1);
        member.OfClient = member.OfService = null;
        _held.Clients.Take(client.Held);
        _held.Services.Take(service.Held);
        if (service.Count == 0)
            (service.Cursor, _servicesInUse) = (0, _servicesInUse - 1);
        if (client.Count > 0)
            return;
        client.Cursor = 0;
        if (--_clientsInUse + MostIdleClients < _clients.Count)
            ForgetIdleClients();
    }

    internal void BeginPending(ShareMember member)
    {
        member.IsPending = true;
        _waiting.Clients.Add(member.OfClient!.Waiting);
        _waiting.Services.Add(member.OfService!.Waiting);
    }

    internal void EndPending(ShareMember member)
    {
        if (!member.IsPending)
            return;
        member.IsPending = false;
        _waiting.Clients.Take(member.OfClient!.Waiting);
        _waiting.Services.Take(member.OfService!.Waiting);
    }

    /// <summary>Whether a newcomer has its place, and who has to go for it.</summary>
    /// <param name="total">How many there are, in all loops and in the tunnel.</param>
    /// <param name="limit">How many there may be.</param>
    /// <param name="loops">Over how many loops they are spread.</param>
    /// <param name="pending">The limit is one of pending dials.</param>
    /// <param name="givesWay">Is to be closed first; null: nobody.</param>
    internal bool MayEnter(InetAddress client, Share service, long total, int limit, int loops, bool pending, out ShareMember? givesWay)
    {
        givesWay = null;
        if (total < limit - (limit / 8))
            return true;
        var own = _clients.GetValueOrDefault(client);
        if (total < limit)
            return !IsAbove(own, limit / loops, pending, isService: false) && !IsAbove(service, limit / loops, pending, isService: true);
        givesWay = LeastMissed(own, service, pending);
        return givesWay is not null;
    }

    /// <summary>Of whoever has most, the member that was idle longest; null when there is none.</summary>
    internal ShareMember? LeastMissed() => Heaviest(pending: false, _clientsInUse, _servicesInUse) is { } heaviest ? Compare(heaviest, pending: false) : null;

    /// <summary>Forgets clients that have nothing.</summary>
    internal void ForgetIdleClients()
    {
        foreach (var (address, share) in _clients)
        {
            if (share.Count == 0)
                _clients.Remove(address);
        }
    }

    private bool IsAbove(Share? share, int limit, bool pending, bool isService)
    {
        // Alone: nobody else wants it.
        var sharing = (isService ? _servicesInUse : _clientsInUse) + (share is { Count: > 0 } ? 0 : 1);
        var has = share is null ? 0 : pending ? share.Pending : share.Count;
        return sharing > 1 && (has + 1L) * sharing > Math.Max(limit, sharing);
    }

    /// <summary>A newcomer is worth another's place only if it has clearly less.</summary>
    private ShareMember? LeastMissed(Share? client, Share service, bool pending)
    {
        var clients = _clientsInUse + (client is { Count: > 0 } ? 0 : 1);
        var services = _servicesInUse + (service.Count > 0 ? 0 : 1);
        if (Heaviest(pending, clients, services) is not { } heaviest || Compare(heaviest, pending) is not { } member)
            return null;
        if (heaviest == service)
            return Weight(client, pending) + 1 < Weight(member.OfClient, pending) ? member : null;
        if (heaviest == client)
            return Weight(service, pending) + 1 < Weight(member.OfService, pending) ? member : null;
        return Weight(heaviest.IsService ? service : client, pending) + 1 < Weight(heaviest, pending) ? member : null;
    }

    /// <summary>Whoever is furthest above its share, where so many clients and services share.</summary>
    private Share? Heaviest(bool pending, int clients, int services)
    {
        var (ofClients, ofServices) = pending ? _waiting : _held;
        var (client, service) = (ofClients.Heaviest, ofServices.Heaviest);
        // Of two alike the client: a service has others too.
        return Weight(client, pending) * clients >= Weight(service, pending) * services ? client : service;
    }

    /// <summary>Of a service's members one of the client that has most, of a client's one of the service that has most; of
    /// those the one that was idle longest.</summary>
    private static ShareMember? Compare(Share share, bool pending)
    {
        ShareMember? found = null;
        var members = share.Members;
        // Pending ones came one behind the other: once the cursor is among them, none has to be passed over for long.
        for (var (left, compared) = (members.Count, 0); left > 0 && compared < MostCompared; left--)
        {
            share.Cursor = share.Cursor + 1 < members.Count ? share.Cursor + 1 : 0;
            var member = members[share.Cursor];
            if (pending && !member.IsPending)
                continue;
            compared++;
            if (found is null || IsBefore(member, found))
                found = member;
        }

        return found;

        bool IsBefore(ShareMember one, ShareMember other)
        {
            var weight = Weight(share.IsService ? one.OfClient : one.OfService, pending);
            var otherWeight = Weight(share.IsService ? other.OfClient : other.OfService, pending);
            // The loop's clock is coarse: of those alike mostly the one that came first stands first.
            return weight != otherWeight ? weight > otherWeight
                : one.LastActive != other.LastActive ? one.LastActive < other.LastActive
                : one.PlaceInClient < other.PlaceInClient;
        }
    }

    private static long Weight(Share? share, bool pending) => share is null ? 0 : pending ? share.Pending : share.Count;
}
