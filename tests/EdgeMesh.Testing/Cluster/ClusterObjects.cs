using System.Collections.Immutable;
using EdgeMesh.Kubernetes;
using EdgeMesh.Kubernetes.Api;

namespace EdgeMesh.Testing.Cluster;

/// <summary>Short ways to write the objects of a cluster.</summary>
public static class ClusterObjects
{
    /// <param name="port">Text of the form <c>80</c>, <c>http:80</c> or <c>dns:53/UDP</c>.</param>
    public static Service Service(string name, string clusterIP, params ReadOnlySpan<string> port)
    {
        var ports = ImmutableArray.CreateBuilder<ServicePort>();
        foreach (var text in port)
        {
            var (portName, number, protocol) = Port(text);
            ports.Add(new ServicePort { Name = portName, Port = number, Protocol = protocol });
        }

        return new Service { Metadata = Meta(name), Spec = new ServiceSpec { ClusterIP = clusterIP, Ports = ports.DrainToImmutable() } };
    }

    /// <param name="service">The service that the slice belongs to, as NAMESPACE/NAME.</param>
    /// <param name="port">As in <see cref="Service"/>.</param>
    public static EndpointSlice Slice(string name, string service, string port, params ReadOnlySpan<string> addresses)
    {
        var (portName, number, protocol) = Port(port);
        var endpoints = ImmutableArray.CreateBuilder<Endpoint>();
        var family = "IPv4";
        foreach (var address in addresses)
        {
            endpoints.Add(new Endpoint { Addresses = [address] });
            if (address.Contains(':', StringComparison.Ordinal))
                family = "IPv6";
        }

        return new EndpointSlice
        {
            Metadata = Meta(name).With("kubernetes.io/service-name", service[(service.IndexOf('/', StringComparison.Ordinal) + 1)..]),
            AddressType = family,
            Ports = [new EndpointPort { Name = portName, Port = number, Protocol = protocol }],
            Endpoints = endpoints.DrainToImmutable(),
        };
    }

    public static ObjectMeta With(this ObjectMeta meta, string label, string value)
    {
        ArgumentNullException.ThrowIfNull(meta);
        return meta with { Labels = meta.Labels.SetItem(label, value) };
    }

    public static Namespace Namespace(string name) => new() { Metadata = new ObjectMeta { Name = name } };

    public static Service Labelled(this Service service, string label, string value = "")
    {
        ArgumentNullException.ThrowIfNull(service);
        return service with { Metadata = service.Metadata.With(label, value) };
    }

    public static ClusterFacts Facts(params ReadOnlySpan<KubernetesObject> objects) => Facts(null, objects);

    public static ClusterFacts Facts(DateTimeOffset? asOf, params ReadOnlySpan<KubernetesObject> objects)
    {
        var facts = new ClusterFacts { Origin = FactsOrigin.Live, AsOf = asOf ?? DateTimeOffset.UnixEpoch };
        foreach (var item in objects)
            facts = facts.With(item);
        return facts;
    }

    /// <summary>The same facts with one object added or replaced; all others are shared, as a source does it.</summary>
    public static ClusterFacts With(this ClusterFacts facts, KubernetesObject item)
    {
        ArgumentNullException.ThrowIfNull(facts);
        return item switch
        {
            Service service => facts with { Services = facts.Services.SetItem(service.Key, service) },
            EndpointSlice slice => facts with { EndpointSlices = facts.EndpointSlices.SetItem(slice.Key, slice) },
            Endpoints endpoints => facts with { Endpoints = facts.Endpoints.SetItem(endpoints.Key, endpoints) },
            Namespace place => facts.With(Kinds.Namespaces, facts.Of(Kinds.Namespaces).SetItem(place.Key, place)),
            Node node => facts with { NodeLabels = node.Metadata.Labels },
            _ => throw new ArgumentException($"Facts hold no {item?.GetType().Name ?? "null"}.", nameof(item)),
        };
    }

    private static ObjectMeta Meta(string name)
    {
        var parts = name.Split('/');
        return new ObjectMeta { Namespace = parts[0], Name = parts[1] };
    }

    private static (string? Name, int Number, string? Protocol) Port(string text)
    {
        var protocol = text.Split('/') is [_, var given] ? given : null;
        var parts = text.Split('/')[0].Split(':');
        return parts.Length == 2 ? (parts[0], int.Parse(parts[1]), protocol) : (null, int.Parse(parts[0]), protocol);
    }
}
