using System.Collections.Immutable;
using System.Reflection;
using System.Runtime.InteropServices;
using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;
using System.Text.Json.Serialization;
using System.Text.Json.Serialization.Metadata;
using EdgeMesh.Kubernetes.Api;
using Xunit;

namespace EdgeMesh.Tests.Kubernetes;

/// <summary>The schemas against System.Text.Json, which knows nothing of them: it takes the names from the types' own properties.</summary>
[Collection("shared strings")]
public sealed class SchemaTests
{
    private const string FullService = """
        {"kind":"Service","metadata":{"name":"a","namespace":"demo","uid":"u-1","resourceVersion":"7","generation":3,"labels":{"app":"x","service.edgemesh.kubeedge.io/service-proxy-name":"","service.kubernetes.io/headless":null},"annotations":{"a":{"deep":[1,{"b":[]}]}}},
        "spec":{"type":"LoadBalancer","clusterIP":"10.0.0.1","clusterIPs":["10.0.0.1","fd00::1"],"externalIPs":["1.2.3.4"],"selector":{"app":"x"},"ports":[{"name":"http","protocol":"TCP","appProtocol":"h2c","port":80,"targetPort":"web","nodePort":30080},{"port":53,"protocol":"UDP"}],"sessionAffinity":"ClientIP","sessionAffinityConfig":{"clientIP":{"timeoutSeconds":7}},"internalTrafficPolicy":"Cluster","externalTrafficPolicy":"Local","loadBalancerSourceRanges":["10.0.0.0/8"]},"status":{"loadBalancer":{"ingress":[{"ip":"9.9.9.9","ipMode":"VIP","ports":[]},{"hostname":"lb.example"}]}}}
        """;

    private const string FullSlice = """
        {"metadata":{"name":"a-1","namespace":"demo","labels":{"kubernetes.io/service-name":"a"}},"addressType":"IPv4","ports":[{"name":"","port":8080,"protocol":"TCP","appProtocol":null},{"name":"\u0064ns","port":53}],
        "endpoints":[{"addresses":["10.1.0.1"],"conditions":{"ready":true,"serving":null},"nodeName":"n\u00e9","zone":"z","hints":{"forZones":[{"name":"z"}],"forNodes":null},"targetRef":{"name":"p"}},{"addresses":["10.1.0.2","10.1.0.3","10.1.0.4"],"conditions":{}},{"addresses":[]}]}
        """;

    private static readonly JsonSerializerOptions Oracle = new(JsonSerializerDefaults.Web)
    {
        PropertyNameCaseInsensitive = false,
        NumberHandling = JsonNumberHandling.Strict,
        Converters = { new Lists() },
        TypeInfoResolver = new DefaultJsonTypeInfoResolver { Modifiers = { SetWhatTheSchemaSets } },
    };

    [Fact]
    public void EveryMemberOfEveryKindIsReadAndWrittenUnderItsOwnName()
    {
        var random = new Random(1);
        for (var i = 0; i < 300; i++)
        {
            ReadsAsTheOracle(Service.Schema, Generate(typeof(Service), random));
            ReadsAsTheOracle(EndpointSlice.Schema, Generate(typeof(EndpointSlice), random));
            ReadsAsTheOracle(Endpoints.Schema, Generate(typeof(Endpoints), random));
            ReadsAsTheOracle(Node.Schema, Generate(typeof(Node), random));
        }
    }

    [Theory]
    [InlineData(FullService)]
    [InlineData(FullSlice)]
    [InlineData("null")]
    [InlineData("[]")]
    [InlineData("{}")]
    [InlineData("""{"metadata":null}""")]
    [InlineData("""{"metadata":{"name":null,"labels":null},"spec":{"ports":null}}""")]
    [InlineData("""{"metadata":{"name":"a"},"spec":{"ports":[null]}}""")]
    [InlineData("""{"metadata":{"name":"a"},"spec":{"ports":[{"port":80.5}]}}""")]
    [InlineData("""{"metadata":{"name":"a"},"spec":{"ports":[{"port":"80"}]}}""")]
    [InlineData("""{"metadata":{"name":"a"},"spec":{"ports":[{"port":null}]}}""")]
    [InlineData("""{"metadata":{"name":"a"},"spec":{"clusterIPs":["1.2.3.4",null]}}""")]
    [InlineData("""{"metadata":{"name":"a"},"metadata":{"namespace":"b"},"spec":{}} x""")]
    [InlineData("""{"metadata":{"name":"a"},"metadata":{"namespace":"b"},"spec":{}}""")]
    [InlineData("""{"metadata":{"name":"\ud800"},"spec":{}}""")]
    public void WhatIsOddIsReadOrRefusedAsASerializerWould(string json) => IsReadAlike(Encoding.UTF8.GetBytes(json));

    [Fact]
    public void ChangedAndCutBytesAreReadOrRefusedAsASerializerWould()
    {
        var random = new Random(1);
        foreach (var text in (string[])[FullService, FullSlice])
        {
            var whole = Encoding.UTF8.GetBytes(text);
            for (var i = 0; i < 4_000; i++)
            {
                var bytes = whole.ToArray();
                for (var change = random.Next(3); change >= 0; change--)
                    bytes[random.Next(bytes.Length)] = "\"{}[],:\\ntf01.-\0\xC3"u8[random.Next(17)];
                IsReadAlike(bytes);
            }

            for (var length = 0; length < whole.Length - 2; length++)
                Assert.Null(Read(Service.Schema, whole[..length]));
        }
    }

    [Theory]
    [InlineData("""{"a":{"b":[1,{"c":x}]}}""", "$.a.b[1].c")]
    [InlineData("""{"a":{"b":[1,[2,x]]}}""", "$.a.b[1][0]")]
    [InlineData("""{"a":{"x.y/z":x}}""", "$.a['x.y/z']")]
    [InlineData("[x]", "$")]
    [InlineData("x", "$")]
    public void ABrokenPlaceIsNamedByItsPath(string json, string path)
    {
        var bytes = Encoding.UTF8.GetBytes(json);
        var reader = new Utf8JsonReader(bytes);
        try
        {
            while (reader.Read())
            {
            }
        }
        catch (JsonException)
        {
            Assert.Equal(path, JsonPath.At(bytes, reader.TokenStartIndex));
        }
    }

    private static void IsReadAlike(byte[] json)
    {
        IsReadAlike(Service.Schema, json);
        IsReadAlike(EndpointSlice.Schema, json);
    }

    private static void IsReadAlike<T>(Schema<T> schema, byte[] json)
        where T : KubernetesObject
    {
        T? expected = null;
        try
        {
            expected = JsonSerializer.Deserialize<T>(json, Oracle);
        }
        catch (Exception e) when (ObjectReader.IsBadInput(e))
        {
            // Refused.
        }

        Assert.Equal(Text(expected), Text(Read(schema, json)));
    }

    private static void ReadsAsTheOracle<T>(Schema<T> schema, JsonNode json)
        where T : KubernetesObject
    {
        var bytes = Encoding.UTF8.GetBytes(json.ToJsonString());
        var read = Read(schema, bytes);
        Assert.NotNull(read);
        Assert.Equal(Text(JsonSerializer.Deserialize<T>(bytes, Oracle)), Text(read));
        using var written = new MemoryStream();
        using (var writer = new Utf8JsonWriter(written))
            schema.Write(writer, read);
        Assert.Equal(Text(read), Text(Read(schema, written.ToArray())));
        Assert.Equal(Text(read), Text(JsonSerializer.Deserialize<T>(written.ToArray(), Oracle)));
    }

    private static T? Read<T>(Schema<T> schema, byte[] json)
        where T : KubernetesObject
    {
        try
        {
            var reader = new Utf8JsonReader(json);
            reader.Read();
            var value = reader.TokenType == JsonTokenType.Null ? null : schema.Read(ref reader);
            reader.Read();
            return value;
        }
        catch (Exception e) when (ObjectReader.IsBadInput(e))
        {
            return null;
        }
    }

    private static string Text<T>(T? value) => JsonSerializer.Serialize(value, Oracle);

    private static JsonNode Generate(Type type, Random random)
    {
        type = Nullable.GetUnderlyingType(type) ?? type;
        if (type == typeof(string))
            return JsonValue.Create($"{(char)random.Next(32, 1000)}{random.Next(100)}");
        if (type == typeof(int))
            return JsonValue.Create(random.Next(-1, 70_000));
        if (type == typeof(bool))
            return JsonValue.Create(random.Next(2) == 0);
        if (type == typeof(ImmutableDictionary<string, string>))
            return new JsonObject(Enumerable.Range(0, random.Next(3)).Select(i => KeyValuePair.Create($"{(random.Next(2) == 0 ? "topology.kubernetes.io/" : "edgemesh.kubeedge.io/")}{i}", (JsonNode?)$"v{i}")));
        if (type.IsGenericType)
            return new JsonArray([.. Enumerable.Range(0, random.Next(4)).Select(_ => Generate(type.GenericTypeArguments[0], random))]);
        var members = Members(type).Select(p => KeyValuePair.Create(NameOf(p), random.Next(8) == 0 ? null : Generate(p.PropertyType, random)));
        var json = new JsonObject(members.Where(m => m.Value is not null));
        if (random.Next(3) == 0)
            json["notDeclared"] = new JsonObject { ["name"] = "x", ["list"] = new JsonArray(1, null, "y") };
        return json;
    }

    private static IEnumerable<PropertyInfo> Members(Type type) =>
        type.GetProperties(BindingFlags.Instance | BindingFlags.Public).Where(p => p.GetSetMethod(nonPublic: true) is not null);

    private static string NameOf(PropertyInfo property) =>
        property.Name is "PodCidr" or "PodCidrs" ? property.Name.Replace("PodCidr", "podCIDR", StringComparison.Ordinal) : JsonNamingPolicy.CamelCase.ConvertName(property.Name);

    private static void SetWhatTheSchemaSets(JsonTypeInfo type)
    {
        if (type.Kind != JsonTypeInfoKind.Object)
            return;
        var members = Members(type.Type).ToDictionary(p => JsonNamingPolicy.CamelCase.ConvertName(p.Name), StringComparer.Ordinal);
        foreach (var property in type.Properties.ToList())
        {
            if (!members.TryGetValue(property.Name, out var member))
            {
                type.Properties.Remove(property);
                continue;
            }

            var empty = member.GetValue(Activator.CreateInstance(type.Type));
            property.Name = NameOf(member);
            property.Set = (owner, value) => member.SetValue(owner, value ?? empty);
            property.CustomConverter = member.Name switch { "Labels" => new Words(KeptWords.Labels), "Annotations" => new Words(KeptWords.Annotations), _ => null };
        }
    }

    /// <summary>As Go writes them: null is empty, and no element is null.</summary>
    private sealed class Lists : JsonConverterFactory
    {
        public override bool CanConvert(Type typeToConvert) => typeToConvert.IsGenericType && typeToConvert.GetGenericTypeDefinition() == typeof(ImmutableArray<>);

        public override JsonConverter CreateConverter(Type typeToConvert, JsonSerializerOptions options) =>
            (JsonConverter)Activator.CreateInstance(typeof(List<>).MakeGenericType(typeToConvert.GenericTypeArguments))!;

        private sealed class List<T> : JsonConverter<ImmutableArray<T>>
        {
            public override bool HandleNull => true;

            public override ImmutableArray<T> Read(ref Utf8JsonReader reader, Type typeToConvert, JsonSerializerOptions options)
            {
                var items = JsonSerializer.Deserialize<T?[]>(ref reader, options) ?? [];
                return Array.Exists(items, i => i is null) ? throw new JsonException() : [.. items!];
            }

            public override void Write(Utf8JsonWriter writer, ImmutableArray<T> value, JsonSerializerOptions options) => JsonSerializer.Serialize(writer, value.ToArray(), options);
        }
    }

    /// <summary>Labels and annotations: which are kept is not the schema's to say. A key that cannot be one of them is not decoded.</summary>
    private sealed class Words(KeptWords kept) : JsonConverter<ImmutableDictionary<string, string>>
    {
        public override ImmutableDictionary<string, string> Read(ref Utf8JsonReader reader, Type typeToConvert, JsonSerializerOptions options)
        {
            using var all = JsonDocument.ParseValue(ref reader);
            var words = ImmutableDictionary<string, string>.Empty;
            foreach (var word in all.RootElement.EnumerateObject())
            {
                var key = JsonMarshal.GetRawUtf8PropertyName(word);
                if ((key.Contains((byte)'\\') || key.IndexOf("kubernetes.io/"u8) >= 0 || key.IndexOf("kubeedge.io/"u8) >= 0) && kept.Keeps(word.Name))
                    words = words.SetItem(word.Name, word.Value.ValueKind == JsonValueKind.Null ? "" : word.Value.GetString()!);
            }

            return words;
        }

        public override void Write(Utf8JsonWriter writer, ImmutableDictionary<string, string> value, JsonSerializerOptions options) =>
            JsonSerializer.Serialize(writer, value.OrderBy(w => w.Key, StringComparer.Ordinal).Select(w => $"{w.Key}={w.Value}").ToArray(), JsonSerializerOptions.Default);
    }
}
