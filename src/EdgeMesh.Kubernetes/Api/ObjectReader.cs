using System.Collections.Immutable;
using System.Net;
using System.Text.Json;
using EdgeMesh.Net;

namespace EdgeMesh.Kubernetes.Api;

/// <summary>Why one object could not be used. The others around it are not affected.</summary>
/// <param name="Name">Empty parts where the object was too broken to say.</param>
/// <param name="Path">JSON path of the value at fault (<c>$.spec.ports[0].port</c>), null if unknown.</param>
internal sealed record ObjectFault(ObjectName Name, string? ResourceVersion, string Message, string? Path);

internal readonly record struct ReadResult<T>(T? Value, ObjectFault? Fault)
    where T : KubernetesObject;

/// <summary>Bytes of one object -> record, or a fault that names it. Never throws.</summary>
internal static class ObjectReader
{
    /// <summary>etcd refuses objects over 1.5 MiB, so nothing real is larger.</summary>
    public const int LargestObject = 2 << 20;

    public static ReadResult<T> Read<T>(ReadOnlySpan<byte> json, Schema<T> schema, Kind<T> kind)
        where T : KubernetesObject
    {
        var reader = new Utf8JsonReader(json);
        T value;
        try
        {
            reader.Read();
            if (reader.TokenType == JsonTokenType.Null)
            {
                return new(null, new(default, null, "is null", "$"));
            }

            value = schema.Read(ref reader);
            // The rest must be read to be known to be nothing.
            reader.Read();
        }
        catch (Exception e) when (IsBadInput(e))
        {
            var (name, version, _) = Identify(json);
            var path = JsonPath.At(json, reader.TokenStartIndex);
            return new(null, new(name, version, path == "$" ? "is not valid JSON of this kind" : $"has a value of the wrong type at {path}", path));
        }

        return ObjectCheck.FirstFault(value, kind) is { } fault
            ? new(null, new(value.Key, value.Metadata.ResourceVersion, fault.Message, fault.Path))
            : new(value, null);
    }

    /// <summary>Whatever a reader of JSON throws for bytes that it does not like (lone surrogates and bad UTF-8 are InvalidOperationException).</summary>
    public static bool IsBadInput(Exception e) => e is JsonException or InvalidOperationException or FormatException or ArgumentException or OverflowException or NotSupportedException;

    /// <summary>Name, resourceVersion and kind from the front of an object that may be broken or cut off.</summary>
    public static (ObjectName Name, string? ResourceVersion, string? Kind) Identify(ReadOnlySpan<byte> json)
    {
        string? name = null, space = null, version = null, kind = null;
        try
        {
            var reader = new Utf8JsonReader(json, isFinalBlock: false, default);
            var inMetadata = false;
            while (reader.Read())
            {
                if (reader.TokenType != JsonTokenType.PropertyName)
                {
                    continue;
                }

                if (reader.CurrentDepth == 1)
                {
                    inMetadata = reader.ValueTextEquals("metadata"u8);
                    if (reader.ValueTextEquals("kind"u8) && reader.Read() && reader.TokenType == JsonTokenType.String)
                    {
                        kind = reader.GetString();
                    }
                }
                else if (inMetadata && reader.CurrentDepth == 2)
                {
                    var isName = reader.ValueTextEquals("name"u8);
                    var isSpace = reader.ValueTextEquals("namespace"u8);
                    var isVersion = reader.ValueTextEquals("resourceVersion"u8);
                    if ((isName || isSpace || isVersion) && reader.Read() && reader.TokenType == JsonTokenType.String && reader.ValueSpan.Length <= 512)
                    {
                        name = isName ? reader.GetString() : name;
                        space = isSpace ? reader.GetString() : space;
                        version = isVersion ? reader.GetString() : version;
                    }
                }
            }
        }
        catch (Exception e) when (IsBadInput(e))
        {
            // What was found before the broken place still names the object.
        }

        return (new(space ?? "", name ?? ""), version, kind);
    }
}

/// <summary>What the API server itself would refuse, and a folder of manifests may contain.</summary>
internal static class ObjectCheck
{
    public static (string Message, string Path)? FirstFault<T>(T value, Kind<T> kind)
        where T : KubernetesObject
    {
        if (value.Metadata.Name.Length is 0 or > 253)
        {
            return ("needs metadata.name of 1 to 253 characters", "$.metadata");
        }

        if (kind.IsNamespaced && value.Metadata.Namespace.Length is 0 or > 253)
        {
            return ("needs metadata.namespace of 1 to 253 characters", "$.metadata");
        }

        return kind.Check?.Invoke(value);
    }

    public static (string, string)? Of(Service service)
    {
        for (var i = 0; i < service.Spec.Ports.Length; i++)
        {
            var port = service.Spec.Ports[i];
            if (port.Port is < 1 or > 65535)
            {
                return ($"has the impossible port {port.Port}; ports are 1 to 65535", $"$.spec.ports[{i}].port");
            }

            if (port.NodePort is < 0 or > 65535)
            {
                return ($"has the impossible nodePort {port.NodePort}", $"$.spec.ports[{i}].nodePort");
            }

            if (!IsProtocol(port.Protocol))
            {
                return ($"has the unknown protocol '{port.Protocol}'; TCP, UDP and SCTP exist", $"$.spec.ports[{i}].protocol");
            }
        }

        if (service.Spec.ClusterIP is { Length: > 0 } ip && ip != "None" && !IPAddress.IsValid(ip))
        {
            return ($"has the clusterIP '{ip}', which is not an IP address", "$.spec.clusterIP");
        }

        for (var i = 0; i < service.Spec.ClusterIPs.Length; i++)
        {
            if (service.Spec.ClusterIPs[i] is var other && other != "None" && !IPAddress.IsValid(other))
            {
                return ($"has the clusterIP '{other}', which is not an IP address", $"$.spec.clusterIPs[{i}]");
            }
        }

        return null;
    }

    public static (string, string)? Of(EndpointSlice slice)
    {
        if (Ports(slice.Ports, "$.ports") is { } fault)
        {
            return fault;
        }

        if (slice.AddressType == "FQDN")
        {
            return null;
        }

        for (var i = 0; i < slice.Endpoints.Length; i++)
        {
            foreach (var address in slice.Endpoints[i].Addresses)
            {
                if (!IPAddress.IsValid(address))
                {
                    return ($"has the endpoint '{address}', which is not an IP address", $"$.endpoints[{i}].addresses");
                }
            }
        }

        return null;
    }

    public static (string, string)? Of(Endpoints endpoints)
    {
        for (var i = 0; i < endpoints.Subsets.Length; i++)
        {
            var subset = endpoints.Subsets[i];
            if (Ports(subset.Ports, $"$.subsets[{i}].ports") is { } fault)
            {
                return fault;
            }

            foreach (var address in subset.Addresses.AsSpan())
            {
                if (!IPAddress.IsValid(address.Ip))
                {
                    return ($"has the endpoint '{address.Ip}', which is not an IP address", $"$.subsets[{i}].addresses");
                }
            }
        }

        return null;
    }

    private static (string, string)? Ports(ImmutableArray<EndpointPort> ports, string path)
    {
        for (var i = 0; i < ports.Length; i++)
        {
            if (ports[i].Port is < 0 or > 65535)
            {
                return ($"has the impossible port {ports[i].Port}; ports are 1 to 65535", $"{path}[{i}].port");
            }

            if (!IsProtocol(ports[i].Protocol))
            {
                return ($"has the unknown protocol '{ports[i].Protocol}'; TCP, UDP and SCTP exist", $"{path}[{i}].protocol");
            }
        }

        return null;
    }

    private static bool IsProtocol(string? protocol) => TransportProtocols.OfKubernetes(protocol) is not null;
}
