using System.Globalization;
using System.Text.Json;
using System.Text.Json.Nodes;
using EdgeMesh.Kubernetes;
using EdgeMesh.Kubernetes.Api;
using YamlDotNet.Core;
using YamlDotNet.RepresentationModel;

namespace EdgeMesh.Testing.Cluster;

/// <summary>Reads objects from YAML documents for golden cases. It trusts its input: the cases are ours.</summary>
public static class YamlObjects
{
    private static readonly JsonSerializerOptions _json = new() { PropertyNameCaseInsensitive = true };

    public static ClusterFacts Facts(string yaml)
    {
        var facts = ClusterObjects.Facts();
        foreach (var document in Documents(yaml))
        {
            KubernetesObject? item = (string?)document["kind"] switch
            {
                "Service" => document.Deserialize<Service>(_json),
                "EndpointSlice" => document.Deserialize<EndpointSlice>(_json),
                "Endpoints" => document.Deserialize<Endpoints>(_json),
                "Node" => document.Deserialize<Node>(_json),
                _ => null,
            };
            if (item is not null)
                facts = facts.With(item);
        }

        return facts;
    }

    public static IEnumerable<JsonObject> Documents(string yaml)
    {
        var stream = new YamlStream();
        using var reader = new StringReader(yaml);
        stream.Load(reader);
        return stream.Documents.Select(document => (JsonObject)Json(document.RootNode)!);
    }

    private static JsonNode? Json(YamlNode node) => node switch
    {
        YamlMappingNode map => new JsonObject(map.Select(entry => KeyValuePair.Create(((YamlScalarNode)entry.Key).Value!, Json(entry.Value)))),
        YamlSequenceNode list => new JsonArray([.. list.Select(Json)]),
        YamlScalarNode { Style: ScalarStyle.Plain } plain => Plain(plain.Value),
        YamlScalarNode quoted => JsonValue.Create(quoted.Value),
        _ => throw new FormatException($"{node.NodeType} has no JSON."),
    };

    private static JsonValue? Plain(string? text) => text switch
    {
        null or "" or "null" or "~" => null,
        "true" => JsonValue.Create(true),
        "false" => JsonValue.Create(false),
        _ when int.TryParse(text, NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out var number) => JsonValue.Create(number),
        _ => JsonValue.Create(text),
    };
}
