using System.Collections.Immutable;
using System.Text.Json;

namespace EdgeMesh.Kubernetes.Api;

/// <summary>Labels or annotations that decide something in a service proxy. The rest is dropped while reading: with 10,000
/// services the labels of people's own (charts, teams, versions) would be most of the memory.</summary>
/// <param name="prefixes">A key that begins with one of these is kept; each holds <c>kubernetes.io/</c> or <c>kubeedge.io/</c>, or is <see cref="Service.AppLabel"/>.</param>
internal sealed class KeptWords(params string[] prefixes) : JsonShape<ImmutableDictionary<string, string>>
{
    public static KeptWords Labels { get; } = new(
        EndpointSlice.ServiceNameLabel,
        Service.AppLabel,
        "kubernetes.io/hostname",
        "service.kubernetes.io/",
        "service.edgemesh.kubeedge.io/",
        "topology.kubernetes.io/");

    /// <summary>The annotations that this agent reads.</summary>
    public static KeptWords Annotations { get; } = new("edgemesh.kubeedge.io/");

    public bool Keeps(string key) => Array.Exists(prefixes, p => key.StartsWith(p, StringComparison.Ordinal));

    public override ImmutableDictionary<string, string> Read(ref Utf8JsonReader reader)
    {
        var words = ImmutableDictionary<string, string>.Empty;
        if (reader.TokenType == JsonTokenType.Null)
            return words;
        if (reader.TokenType != JsonTokenType.StartObject)
            throw new JsonException();
        while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
        {
            var key = Keeps(ref reader) ? reader.GetString() : null;
            reader.Read();
            if (key is null)
            {
                reader.Skip();
                continue;
            }

            words = words.SetItem(SharedString.Share(key), reader.TokenType switch
            {
                JsonTokenType.String => SharedString.Share(reader.GetString()),
                JsonTokenType.Null => "",
                _ => throw new JsonException(),
            });
        }

        return words;
    }

    public override void Write(Utf8JsonWriter writer, ImmutableDictionary<string, string> value)
    {
        writer.WriteStartObject();
        foreach (var (key, text) in value)
            writer.WriteString(key, text);
        writer.WriteEndObject();
    }

    public override bool IsAbsent(ImmutableDictionary<string, string> value) => value.IsEmpty;

    private bool Keeps(ref Utf8JsonReader reader) =>
        (reader.ValueIsEscaped || reader.ValueSpan.IndexOf("kubernetes.io/"u8) >= 0 || reader.ValueSpan.IndexOf("kubeedge.io/"u8) >= 0 || reader.ValueTextEquals(Service.AppLabel))
        && Keeps(reader.GetString()!);
}
