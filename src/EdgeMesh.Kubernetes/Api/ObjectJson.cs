using System.Text.Json.Serialization;

namespace EdgeMesh.Kubernetes.Api;

[JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.CamelCase, GenerationMode = JsonSourceGenerationMode.Metadata)]
[JsonSerializable(typeof(ListEnvelope))]
[JsonSerializable(typeof(Status))]
internal sealed partial class ObjectJson : JsonSerializerContext;

/// <summary>What stands around the items of a list.</summary>
internal sealed class ListEnvelope
{
    public string? Kind { get; set; }

    public string? ApiVersion { get; set; }

    public ListMeta? Metadata { get; set; }
}

internal sealed class ListMeta
{
    /// <summary>Only a metaServer's local database still writes one.</summary>
    public string? SelfLink { get; set; }

    public string? ResourceVersion { get; set; }

    public string? Continue { get; set; }
}

/// <summary>meta/v1 Status: how an API server says no.</summary>
internal sealed class Status
{
    public string? Kind { get; set; }

    public string? Message { get; set; }

    public string? Reason { get; set; }

    public int Code { get; set; }
}
