using System.Text;
using System.Text.Json;
using EdgeMesh.Kubernetes.Api;

namespace EdgeMesh.Kubernetes.Manifests;

/// <summary>A JSON file -> the same tree as a YAML document. Not read as YAML, which forbids the tabs that JSON allows.</summary>
internal static class JsonTree
{
    private const int Deepest = 64;

    /// <exception cref="YamlFaultException"/>
    public static YamlValue Parse(string text)
    {
        var bytes = Encoding.UTF8.GetBytes(text);
        var reader = new Utf8JsonReader(bytes, new JsonReaderOptions { MaxDepth = Deepest });
        try
        {
            reader.Read();
            var lines = new Lines(bytes);
            var value = Read(ref reader, lines);
            // The rest must be read to be known to be nothing.
            reader.Read();
            return value;
        }
        catch (JsonException e)
        {
            throw new YamlFaultException("is not JSON", (e.LineNumber ?? 0) + 1, e);
        }
        catch (Exception e) when (ObjectReader.IsBadInput(e))
        {
            throw new YamlFaultException("is not JSON", 1, e);
        }
    }

    private static YamlValue Read(ref Utf8JsonReader reader, Lines lines)
    {
        var line = lines.At(reader.TokenStartIndex);
        switch (reader.TokenType)
        {
            case JsonTokenType.StartObject:
                var members = new List<KeyValuePair<YamlScalar, YamlValue>>();
                while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
                {
                    var key = new YamlScalar(reader.GetString()!, Plain: false, lines.At(reader.TokenStartIndex));
                    reader.Read();
                    members.Add(new(key, Read(ref reader, lines)));
                }

                return new YamlMapping(members, line);
            case JsonTokenType.StartArray:
                var items = new List<YamlValue>();
                while (reader.Read() && reader.TokenType != JsonTokenType.EndArray)
                {
                    items.Add(Read(ref reader, lines));
                }

                return new YamlSequence(items, line);
            case JsonTokenType.String:
                return new YamlScalar(reader.GetString()!, Plain: false, line);
            default:
                return new YamlScalar(Encoding.UTF8.GetString(reader.ValueSpan), Plain: true, line);
        }
    }

    /// <summary>Line numbers of places that only move forward.</summary>
    private sealed class Lines(byte[] bytes)
    {
        private long _line = 1;
        private int _at;

        public long At(long place)
        {
            var next = int.CreateChecked(place);
            _line += bytes.AsSpan(_at, next - _at).Count((byte)'\n');
            _at = next;
            return _line;
        }
    }
}
