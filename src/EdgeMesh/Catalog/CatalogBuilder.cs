using System.Collections.Immutable;
using EdgeMesh.Kubernetes;
using EdgeMesh.Kubernetes.Api;
using EdgeMesh.Linux;
using EdgeMesh.Net;

namespace EdgeMesh.Catalog;

/// <summary>Turns cluster facts into the catalog. The result depends on facts and policy alone; what is remembered
/// between builds only lets a service whose objects say the same as before keep its <see cref="CatalogService"/> object,
/// which is what makes planning and syncing cost as much as the change and not as much as the cluster.</summary>
public sealed class CatalogBuilder
{
    private readonly FactsJoin _join = new();
    private readonly AddressClaims _claims = new();
    private readonly LocalEndpoints _local = new();
    private CatalogPolicy? _policy;
    private string? _zone;
    private ServiceCatalog _catalog = ServiceCatalog.Empty;

    /// <returns>The same object as last time where nothing that counts has changed.</returns>
    public ServiceCatalog Build(ClusterFacts facts, CatalogPolicy policy)
    {
        ArgumentNullException.ThrowIfNull(facts);
        ArgumentNullException.ThrowIfNull(policy);
        var zone = facts.NodeLabels.GetValueOrDefault(CatalogLabels.ZoneLabel);
        var samePolicy = policy.Equals(_policy) && zone == _zone;
        (_policy, _zone) = (policy, zone);

        var changed = _join.Take(facts);
        if (!samePolicy)
        {
            foreach (var joined in _join.Services)
                changed.Add(joined);
        }

        var differs = _join.Services.Count != _catalog.Services.Length;
        var localDiffers = false;
        foreach (var joined in changed)
        {
            CatalogService? result = null;
            ImmutableArray<TransportAddress> local = [];
            if (joined.Service is { } service)
            {
                var screen = new AddressScreen(service, policy);
                var endpoints = ListedEndpoints.Read(joined, policy, zone, screen);
                var localFault = ServiceBounds.LocalFault(endpoints);
                local = localFault is null ? endpoints.Local() : [];
                result = CatalogServiceBuilder.Build(service, endpoints, policy, screen, localFault, joined.Result);
            }

            localDiffers |= _local.Replace(joined.Local, local);
            joined.Local = local;
            if (ReferenceEquals(result, joined.Result))
                continue;
            _claims.Replace(joined.Result, result);
            joined.Result = result;
            differs = true;
        }

        if (differs)
            _catalog = new ServiceCatalog(_claims.GiveEachAddressOnce(_join.Services)) { LocalEndpoints = _local.Set };
        else if (localDiffers)
            _catalog = _catalog with { LocalEndpoints = _local.Set };
        return _catalog;
    }
}
