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
    public static ClusterFacts Facts(string yaml)
    {
        var facts = ClusterObjects.Facts();
        foreach (var document in Documents(yaml))
        {
            KubernetesObject? item = (string?)document["kind"] switch
            {
                "Service" => Read(Service.Schema, document),
                "EndpointSlice" => Read(EndpointSlice.Schema, document),
                "Endpoints" => Read(Endpoints.Schema, document),
                "Node" => Read(Node.Schema, document),
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

    /// <summary>Also what an API server would refuse: a case may be about that.</summary>
    private static T Read<T>(Schema<T> schema, JsonObject document)
    {
        var reader = new Utf8JsonReader(JsonSerializer.SerializeToUtf8Bytes(document));
        reader.Read();
        return schema.Read(ref reader);
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
