using System.Collections.Immutable;
using System.Text.Json;

namespace EdgeMesh.Kubernetes.Api;

/// <summary>Reads the two kinds of which a cluster has thousands, straight from the bytes. The serializer takes three times as
/// long for them, most of it in generic code that has to be compiled while the agent starts.</summary>
/// <remarks>Whatever is not as an API server writes it makes this give up, and the serializer says what it is. So a member that
/// is added to a record is added here too; a test compares the two readers.</remarks>
internal static class ObjectScan
{
    private static readonly KeptLabels Labels = new();
    private static readonly KeptAnnotations Annotations = new();
    private static readonly SharedConditions Conditions = new();

    /// <returns>Null: not read; ask the serializer.</returns>
    public static T? Read<T>(ReadOnlySpan<byte> json)
        where T : KubernetesObject
    {
        try
        {
            var reader = new Utf8JsonReader(json);
            KubernetesObject? value = null;
            if (typeof(T) == typeof(Service))
                value = Service(ref reader);
            else if (typeof(T) == typeof(EndpointSlice))
                value = Slice(ref reader);
            return value is not null && !reader.Read() ? (T)value : null;
        }
        catch (Exception e) when (e is GiveUp || ObjectReader.IsBadInput(e))
        {
            return null;
        }
    }

    private static Service Service(ref Utf8JsonReader reader)
    {
        ObjectMeta? metadata = null;
        ServiceSpec? spec = null;
        reader.Read();
        Begin(ref reader, JsonTokenType.StartObject);
        while (Member(ref reader))
        {
            if (reader.ValueTextEquals("metadata"u8))
                metadata = Metadata(ref reader);
            else if (reader.ValueTextEquals("spec"u8))
                spec = Spec(ref reader);
            else
                Skip(ref reader);
        }

        return new Service { Metadata = metadata!, Spec = spec! };
    }

    private static EndpointSlice Slice(ref Utf8JsonReader reader)
    {
        ObjectMeta? metadata = null;
        string? type = null;
        ImmutableArray<EndpointPort> ports = [];
        ImmutableArray<Endpoint> endpoints = [];
        reader.Read();
        Begin(ref reader, JsonTokenType.StartObject);
        while (Member(ref reader))
        {
            if (reader.ValueTextEquals("metadata"u8))
                metadata = Metadata(ref reader);
            else if (reader.ValueTextEquals("addressType"u8))
                type = Shared(ref reader);
            else if (reader.ValueTextEquals("ports"u8))
                ports = EndpointPorts(ref reader);
            else if (reader.ValueTextEquals("endpoints"u8))
                endpoints = Endpoints(ref reader);
            else
                Skip(ref reader);
        }

        return new EndpointSlice { Metadata = metadata!, AddressType = type, Ports = ports, Endpoints = endpoints };
    }

    private static ObjectMeta Metadata(ref Utf8JsonReader reader)
    {
        string? name = null, space = null, uid = null, version = null;
        var labels = ImmutableDictionary<string, string>.Empty;
        var annotations = ImmutableDictionary<string, string>.Empty;
        reader.Read();
        Begin(ref reader, JsonTokenType.StartObject);
        while (Member(ref reader))
        {
            if (reader.ValueTextEquals("name"u8))
                name = Text(ref reader);
            else if (reader.ValueTextEquals("namespace"u8))
                space = Shared(ref reader);
            else if (reader.ValueTextEquals("uid"u8))
                uid = Text(ref reader);
            else if (reader.ValueTextEquals("resourceVersion"u8))
                version = Text(ref reader);
            else if (reader.ValueTextEquals("labels"u8))
                labels = Words(ref reader, Labels);
            else if (reader.ValueTextEquals("annotations"u8))
                annotations = Words(ref reader, Annotations);
            else
                Skip(ref reader);
        }

        return new ObjectMeta { Name = name!, Namespace = space!, Uid = uid, ResourceVersion = version, Labels = labels, Annotations = annotations };
    }

    private static ImmutableDictionary<string, string> Words(ref Utf8JsonReader reader, KeptWords kept)
    {
        reader.Read();
        Begin(ref reader, JsonTokenType.StartObject);
        return kept.Read(ref reader, typeof(ImmutableDictionary<string, string>), ObjectJson.Default.Options);
    }

    private static ServiceSpec Spec(ref Utf8JsonReader reader)
    {
        string? type = null, clusterIP = null, affinity = null, inside = null, outside = null;
        ImmutableArray<string> clusterIPs = [], externalIPs = [];
        ImmutableArray<ServicePort> ports = [];
        reader.Read();
        Begin(ref reader, JsonTokenType.StartObject);
        while (Member(ref reader))
        {
            if (reader.ValueTextEquals("type"u8))
                type = Shared(ref reader);
            else if (reader.ValueTextEquals("clusterIP"u8))
                clusterIP = Text(ref reader);
            else if (reader.ValueTextEquals("clusterIPs"u8))
                clusterIPs = Texts(ref reader);
            else if (reader.ValueTextEquals("externalIPs"u8))
                externalIPs = Texts(ref reader);
            else if (reader.ValueTextEquals("ports"u8))
                ports = ServicePorts(ref reader);
            else if (reader.ValueTextEquals("sessionAffinity"u8))
                affinity = Shared(ref reader);
            else if (reader.ValueTextEquals("sessionAffinityConfig"u8))
                throw new GiveUp();
            else if (reader.ValueTextEquals("internalTrafficPolicy"u8))
                inside = Shared(ref reader);
            else if (reader.ValueTextEquals("externalTrafficPolicy"u8))
                outside = Shared(ref reader);
            else
                Skip(ref reader);
        }

        return new ServiceSpec
        {
            Type = type,
            ClusterIP = clusterIP,
            ClusterIPs = clusterIPs,
            ExternalIPs = externalIPs,
            Ports = ports,
            SessionAffinity = affinity,
            InternalTrafficPolicy = inside,
            ExternalTrafficPolicy = outside,
        };
    }

    private static ImmutableArray<ServicePort> ServicePorts(ref Utf8JsonReader reader)
    {
        var ports = ImmutableArray.CreateBuilder<ServicePort>(1);
        reader.Read();
        Begin(ref reader, JsonTokenType.StartArray);
        while (Element(ref reader, JsonTokenType.StartObject))
        {
            string? name = null, protocol = null, application = null;
            int number = 0, node = 0;
            while (Member(ref reader))
            {
                if (reader.ValueTextEquals("name"u8))
                    name = Shared(ref reader);
                else if (reader.ValueTextEquals("protocol"u8))
                    protocol = Shared(ref reader);
                else if (reader.ValueTextEquals("appProtocol"u8))
                    application = Shared(ref reader);
                else if (reader.ValueTextEquals("port"u8))
                    number = Number(ref reader);
                else if (reader.ValueTextEquals("nodePort"u8))
                    node = Number(ref reader);
                else
                    Skip(ref reader);
            }

            ports.Add(new ServicePort { Name = name, Protocol = protocol, AppProtocol = application, Port = number, NodePort = node });
        }

        return ports.DrainToImmutable();
    }

    private static ImmutableArray<EndpointPort> EndpointPorts(ref Utf8JsonReader reader)
    {
        var ports = ImmutableArray.CreateBuilder<EndpointPort>(1);
        reader.Read();
        Begin(ref reader, JsonTokenType.StartArray);
        while (Element(ref reader, JsonTokenType.StartObject))
        {
            string? name = null, protocol = null;
            int? number = null;
            while (Member(ref reader))
            {
                if (reader.ValueTextEquals("name"u8))
                    name = Shared(ref reader);
                else if (reader.ValueTextEquals("protocol"u8))
                    protocol = Shared(ref reader);
                else if (reader.ValueTextEquals("port"u8))
                    number = Number(ref reader);
                else
                    Skip(ref reader);
            }

            ports.Add(new EndpointPort { Name = name, Protocol = protocol, Port = number });
        }

        return ports.DrainToImmutable();
    }

    private static ImmutableArray<Endpoint> Endpoints(ref Utf8JsonReader reader)
    {
        var endpoints = ImmutableArray.CreateBuilder<Endpoint>(4);
        reader.Read();
        Begin(ref reader, JsonTokenType.StartArray);
        while (Element(ref reader, JsonTokenType.StartObject))
        {
            ImmutableArray<string> addresses = [];
            EndpointConditions? conditions = null;
            string? node = null, zone = null;
            EndpointHints? hints = null;
            while (Member(ref reader))
            {
                if (reader.ValueTextEquals("addresses"u8))
                {
                    addresses = Texts(ref reader);
                }
                else if (reader.ValueTextEquals("conditions"u8))
                {
                    reader.Read();
                    Begin(ref reader, JsonTokenType.StartObject);
                    conditions = Conditions.Read(ref reader, typeof(EndpointConditions), ObjectJson.Default.Options);
                }
                else if (reader.ValueTextEquals("nodeName"u8))
                {
                    node = Shared(ref reader);
                }
                else if (reader.ValueTextEquals("zone"u8))
                {
                    zone = Shared(ref reader);
                }
                else if (reader.ValueTextEquals("hints"u8))
                {
                    reader.Read();
                    hints = JsonSerializer.Deserialize(ref reader, ObjectJson.Default.EndpointHints);
                }
                else
                {
                    Skip(ref reader);
                }
            }

            endpoints.Add(new Endpoint { Addresses = addresses, Conditions = conditions, NodeName = node, Zone = zone, Hints = hints });
        }

        return endpoints.DrainToImmutable();
    }

    private static ImmutableArray<string> Texts(ref Utf8JsonReader reader)
    {
        reader.Read();
        Begin(ref reader, JsonTokenType.StartArray);
        if (!Element(ref reader, JsonTokenType.String))
            return [];
        var first = reader.GetString()!;
        if (!Element(ref reader, JsonTokenType.String))
            return [first];
        var texts = ImmutableArray.CreateBuilder<string>(2);
        texts.Add(first);
        do
            texts.Add(reader.GetString()!);
        while (Element(ref reader, JsonTokenType.String));
        return texts.DrainToImmutable();
    }

    private static void Begin(ref Utf8JsonReader reader, JsonTokenType type)
    {
        if (reader.TokenType != type)
            throw new GiveUp();
    }

    /// <returns>False at the end of the object; else the reader stands on a name.</returns>
    private static bool Member(ref Utf8JsonReader reader) => reader.Read() && reader.TokenType == JsonTokenType.PropertyName;

    /// <returns>False at the end of the array; else the reader stands on an element of that type.</returns>
    private static bool Element(ref Utf8JsonReader reader, JsonTokenType type)
    {
        reader.Read();
        if (reader.TokenType == JsonTokenType.EndArray)
            return false;
        Begin(ref reader, type);
        return true;
    }

    private static string? Text(ref Utf8JsonReader reader)
    {
        reader.Read();
        Begin(ref reader, JsonTokenType.String);
        return reader.GetString();
    }

    private static string? Shared(ref Utf8JsonReader reader)
    {
        reader.Read();
        Begin(ref reader, JsonTokenType.String);
        return SharedString.Read(ref reader);
    }

    private static int Number(ref Utf8JsonReader reader)
    {
        reader.Read();
        Begin(ref reader, JsonTokenType.Number);
        return reader.TryGetInt32(out var number) ? number : throw new GiveUp();
    }

    private static void Skip(ref Utf8JsonReader reader)
    {
        reader.Read();
        reader.Skip();
    }

    private sealed class GiveUp : Exception;
}
