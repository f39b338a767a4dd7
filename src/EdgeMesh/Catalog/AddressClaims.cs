using System.Collections.Immutable;
using System.Runtime.InteropServices;
using EdgeMesh.Kubernetes.Api;
using EdgeMesh.Linux;
using EdgeMesh.Net;

namespace EdgeMesh.Catalog;

/// <summary>Two services that claim one address and port cannot both have it (possible in hand-written manifests):
/// the first by name keeps it, the other is shown as not handled. Counting the claims of every address makes the usual
/// case, in which no two services meet, free of a look at all of them.</summary>
internal sealed class AddressClaims
{
    private readonly Dictionary<TransportAddress, int> _claims = [];
    private int _contested;

    public void Replace(CatalogService? before, CatalogService? now)
    {
        foreach (var claim in Of(before))
        {
            ref var count = ref CollectionsMarshal.GetValueRefOrNullRef(_claims, claim);
            if (count == 1)
                _claims.Remove(claim);
            else if (--count == 1)
                _contested--;
        }

        foreach (var claim in Of(now))
        {
            if (++CollectionsMarshal.GetValueRefOrAddDefault(_claims, claim, out _) == 2)
                _contested++;
        }
    }

    public ImmutableArray<CatalogService> GiveEachAddressOnce(List<JoinedService> services)
    {
        var result = new CatalogService[services.Count];
        if (_contested == 0)
        {
            for (var i = 0; i < result.Length; i++)
                result[i] = services[i].Result!;
        }
        else
        {
            var owners = new Dictionary<TransportAddress, ObjectName>(_claims.Count);
            for (var i = 0; i < result.Length; i++)
                result[i] = Settle(services[i], owners);
        }

        return ImmutableCollectionsMarshal.AsImmutableArray(result);
    }

    private static CatalogService Settle(JoinedService joined, Dictionary<TransportAddress, ObjectName> owners)
    {
        foreach (var claim in Of(joined.Result))
        {
            if (!owners.TryGetValue(claim, out var owner) || owner == joined.Name)
                continue;
            var fault = $"{claim.Address} port {claim.Port} already belongs to {owner}; change one of the two";
            if (joined.Taken is null || joined.Taken.Faults[0] != fault)
                joined.Taken = new CatalogService { Name = joined.Name, Handling = Handling.AddressTaken, Faults = [fault] };
            return joined.Taken;
        }

        // Only who is handled owns: a service that is left alone must not keep a third one from its address.
        foreach (var claim in Of(joined.Result))
            owners.TryAdd(claim, joined.Name);
        joined.Taken = null;
        return joined.Result!;
    }

    private static IEnumerable<TransportAddress> Of(CatalogService? service)
    {
        if (service is null)
            yield break;
        foreach (var port in service.Ports)
        {
            foreach (var address in port.Addresses.Where(address => address.LeftBecause is null))
                yield return new TransportAddress(address.Address, port.Port, port.Name.Protocol);
        }
    }
}
