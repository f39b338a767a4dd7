using System.Collections.Immutable;
using System.Text.Json;
using System.Text.Json.Serialization;
using System.Text.Json.Serialization.Metadata;

namespace EdgeMesh.Kubernetes.Api;

/// <summary>An array where null means empty (Go writes a nil slice as null), and no element may be null.</summary>
internal sealed class NullableArray<T> : JsonConverter<ImmutableArray<T>>
    where T : class
{
    public override bool HandleNull => true;

    public override ImmutableArray<T> Read(ref Utf8JsonReader reader, Type typeToConvert, JsonSerializerOptions options)
    {
        if (reader.TokenType == JsonTokenType.Null)
        {
            return [];
        }

        if (reader.TokenType != JsonTokenType.StartArray)
        {
            throw new JsonException();
        }

        var element = (JsonTypeInfo<T>)options.GetTypeInfo(typeof(T));
        var items = ImmutableArray.CreateBuilder<T>(1);
        while (reader.Read() && reader.TokenType != JsonTokenType.EndArray)
        {
            try
            {
                items.Add(JsonSerializer.Deserialize(ref reader, element) ?? throw new JsonException());
            }
            catch (JsonException e)
            {
                // The inner path begins at the element; ObjectReader.PathOf puts the two together.
                throw new JsonException(null, e) { Data = { ["index"] = items.Count } };
            }
        }

        return items.DrainToImmutable();
    }

    public override void Write(Utf8JsonWriter writer, ImmutableArray<T> value, JsonSerializerOptions options)
    {
        var element = (JsonTypeInfo<T>)options.GetTypeInfo(typeof(T));
        writer.WriteStartArray();
        foreach (var item in value)
        {
            JsonSerializer.Serialize(writer, item, element);
        }

        writer.WriteEndArray();
    }
}

/// <summary>A string that repeats through thousands of objects (node names, namespaces, zones, protocols): one copy is kept.</summary>
internal sealed class SharedString : JsonConverter<string>
{
    private const int Buckets = 1024;
    private const int LongestShared = 128;

    // Never locked: a lost race costs one more copy of a string, never a wrong one. A bucket holds the last few strings of one
    // hash, so that two that come in turn (nodes of the endpoints of one slice) do not drive each other out.
    private static readonly string?[] Pool = new string?[Buckets * PerBucket];

    /// <summary>Strings of one hash that the pool keeps.</summary>
    public const int PerBucket = 4;

    public override string? Read(ref Utf8JsonReader reader, Type typeToConvert, JsonSerializerOptions options)
    {
        if (reader.TokenType != JsonTokenType.String)
        {
            throw new JsonException();
        }

        return Read(ref reader);
    }

    /// <summary>The reader stands on a string.</summary>
    public static string? Read(ref Utf8JsonReader reader)
    {
        if (reader.HasValueSequence || reader.ValueSpan.Length > LongestShared)
        {
            return reader.GetString();
        }

        Span<char> text = stackalloc char[LongestShared];
        var length = reader.CopyString(text);
        return Share(text[..length]);
    }

    public override void Write(Utf8JsonWriter writer, string value, JsonSerializerOptions options) =>
        writer.WriteStringValue(value);

    public static string Share(ReadOnlySpan<char> text)
    {
        if (text.IsEmpty)
        {
            return "";
        }

        // What is this long repeats nowhere, and the pool would keep it for good.
        if (text.Length > LongestShared)
        {
            return text.ToString();
        }

        var bucket = Pool.AsSpan(BucketOf(text) * PerBucket, PerBucket);
        foreach (var pooled in bucket)
        {
            if (pooled is not null && text.SequenceEqual(pooled))
            {
                return pooled;
            }
        }

        bucket[..^1].CopyTo(bucket[1..]);
        return bucket[0] = text.ToString();
    }

    /// <summary>Where strings of this hash are kept; hashes differ from process to process.</summary>
    internal static int BucketOf(ReadOnlySpan<char> text) =>
        (int)((uint)string.GetHashCode(text, StringComparison.Ordinal) % Buckets);
}

/// <summary>The 27 possible sets of conditions, each one object however many endpoints carry it.</summary>
internal sealed class SharedConditions : JsonConverter<EndpointConditions>
{
    private static readonly EndpointConditions[] Pool =
    [
        .. from ready in new bool?[] { null, false, true }
           from serving in new bool?[] { null, false, true }
           from terminating in new bool?[] { null, false, true }
           select new EndpointConditions { Ready = ready, Serving = serving, Terminating = terminating },
    ];

    public override EndpointConditions Read(ref Utf8JsonReader reader, Type typeToConvert, JsonSerializerOptions options)
    {
        if (reader.TokenType != JsonTokenType.StartObject)
        {
            throw new JsonException();
        }

        int ready = 0, serving = 0, terminating = 0;
        while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
        {
            if (reader.ValueTextEquals("ready"u8))
            {
                ready = Condition(ref reader);
            }
            else if (reader.ValueTextEquals("serving"u8))
            {
                serving = Condition(ref reader);
            }
            else if (reader.ValueTextEquals("terminating"u8))
            {
                terminating = Condition(ref reader);
            }
            else
            {
                reader.Read();
                reader.Skip();
            }
        }

        return Pool[(ready * 9) + (serving * 3) + terminating];
    }

    public override void Write(Utf8JsonWriter writer, EndpointConditions value, JsonSerializerOptions options)
    {
        writer.WriteStartObject();
        Write(writer, "ready", value.Ready);
        Write(writer, "serving", value.Serving);
        Write(writer, "terminating", value.Terminating);
        writer.WriteEndObject();
    }

    private static void Write(Utf8JsonWriter writer, string name, bool? value)
    {
        if (value is { } known)
        {
            writer.WriteBoolean(name, known);
        }
    }

    private static int Condition(ref Utf8JsonReader reader)
    {
        reader.Read();
        return reader.TokenType switch
        {
            JsonTokenType.Null => 0,
            JsonTokenType.False => 1,
            JsonTokenType.True => 2,
            _ => throw new JsonException(),
        };
    }
}

/// <summary>Keeps the labels that decide something in a service proxy and drops the rest: with 10,000 services the
/// labels of people's own (charts, teams, versions) would be most of the memory.</summary>
internal sealed class KeptLabels : KeptWords
{
    private static readonly string[] Prefixes =
    [
        "kubernetes.io/service-name",
        "kubernetes.io/hostname",
        "service.kubernetes.io/",
        "service.edgemesh.kubeedge.io/",
        "topology.kubernetes.io/",
    ];

    public static bool IsKept(string key) => Array.Exists(Prefixes, p => key.StartsWith(p, StringComparison.Ordinal));

    protected override bool Keeps(string key) => IsKept(key);
}

/// <summary>The annotations that this agent reads.</summary>
internal sealed class KeptAnnotations : KeptWords
{
    protected override bool Keeps(string key) => key.StartsWith("edgemesh.kubeedge.io/", StringComparison.Ordinal);
}

/// <summary>Reads an object of words, and of it only what is kept.</summary>
internal abstract class KeptWords : JsonConverter<ImmutableDictionary<string, string>>
{
    public override ImmutableDictionary<string, string> Read(ref Utf8JsonReader reader, Type typeToConvert, JsonSerializerOptions options)
    {
        if (reader.TokenType != JsonTokenType.StartObject)
        {
            throw new JsonException();
        }

        var labels = ImmutableDictionary<string, string>.Empty;
        while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
        {
            var key = Keeps(ref reader) ? reader.GetString() : null;
            reader.Read();
            if (key is null)
            {
                reader.Skip();
                continue;
            }

            // No message: the serializer then writes its own, which names the path.
            labels = labels.SetItem(SharedString.Share(key), reader.TokenType switch
            {
                JsonTokenType.String => SharedString.Share(reader.GetString()),
                JsonTokenType.Null => "",
                _ => throw new JsonException(),
            });
        }

        return labels;
    }

    public override void Write(Utf8JsonWriter writer, ImmutableDictionary<string, string> value, JsonSerializerOptions options)
    {
        writer.WriteStartObject();
        foreach (var (key, text) in value)
        {
            writer.WriteString(key, text);
        }

        writer.WriteEndObject();
    }

    protected abstract bool Keeps(string key);

    private bool Keeps(ref Utf8JsonReader reader) =>
        reader.ValueIsEscaped || reader.ValueSpan.IndexOf("kubernetes.io/"u8) >= 0 || reader.ValueSpan.IndexOf("kubeedge.io/"u8) >= 0
            ? Keeps(reader.GetString()!)
            : false;
}
