using System.Text.Json.Nodes;
using EdgeMesh.Testing.Lab;

namespace EdgeMesh.Testing.ApiServer;

/// <summary>The lab's services as objects of an API server.</summary>
public static class ServiceObjects
{
    /// <summary>Creates or replaces the service, its slice and its Endpoints.</summary>
    public static void Put(this TestApiServer server, ManifestService service)
    {
        ArgumentNullException.ThrowIfNull(server);
        ArgumentNullException.ThrowIfNull(service);
        server.Store.Put("services", Service(service));
        server.Store.Put("endpointslices", Slice(service));
        server.Store.Put("endpoints", Endpoints(service));
    }

    public static void Remove(this TestApiServer server, ManifestService service)
    {
        ArgumentNullException.ThrowIfNull(server);
        ArgumentNullException.ThrowIfNull(service);
        server.Delete("services", service.Namespace, service.Name);
        server.Delete("endpointslices", service.Namespace, service.Name + "-1");
        server.Delete("endpoints", service.Namespace, service.Name);
    }

    private static JsonObject Service(ManifestService service)
    {
        var labels = new JsonObject();
        foreach (var (key, value) in service.Labels)
            labels[key] = value;
        return new()
        {
            ["apiVersion"] = "v1",
            ["kind"] = "Service",
            ["metadata"] = new JsonObject { ["name"] = service.Name, ["namespace"] = service.Namespace, ["labels"] = labels },
            ["spec"] = new JsonObject
            {
                ["type"] = "ClusterIP",
                ["clusterIP"] = service.ClusterIPs[0],
                ["clusterIPs"] = new JsonArray([.. service.ClusterIPs.Select(ip => (JsonNode)ip)]),
                ["ports"] = new JsonArray([.. service.Ports.Select(p => new JsonObject { ["name"] = p.Name, ["port"] = p.Port, ["targetPort"] = p.TargetPort, ["protocol"] = p.Protocol })]),
            },
        };
    }

    private static JsonObject Slice(ManifestService service) => new()
    {
        ["apiVersion"] = "discovery.k8s.io/v1",
        ["kind"] = "EndpointSlice",
        ["metadata"] = new JsonObject
        {
            ["name"] = service.Name + "-1",
            ["namespace"] = service.Namespace,
            ["labels"] = new JsonObject { ["kubernetes.io/service-name"] = service.Name },
        },
        ["addressType"] = "IPv4",
        ["ports"] = Ports(service),
        ["endpoints"] = new JsonArray([.. service.Endpoints.Select(ip => new JsonObject { ["addresses"] = new JsonArray(ip), ["conditions"] = new JsonObject { ["ready"] = true } })]),
    };

    private static JsonObject Endpoints(ManifestService service) => new()
    {
        ["apiVersion"] = "v1",
        ["kind"] = "Endpoints",
        ["metadata"] = new JsonObject { ["name"] = service.Name, ["namespace"] = service.Namespace },
        ["subsets"] = new JsonArray(new JsonObject
        {
            ["addresses"] = new JsonArray([.. service.Endpoints.Select(ip => new JsonObject { ["ip"] = ip })]),
            ["ports"] = Ports(service),
        }),
    };

    private static JsonArray Ports(ManifestService service) =>
        [.. service.Ports.Select(p => new JsonObject { ["name"] = p.Name, ["port"] = p.TargetPort, ["protocol"] = p.Protocol })];
}
