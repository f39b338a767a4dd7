using System.Text;
using System.Text.Json;
using EdgeMesh.Kubernetes.Api;

namespace EdgeMesh.Kubernetes.Yaml;

/// <summary>A JSON file -> the same tree as a YAML document. Not read as YAML, which forbids the tabs that JSON allows.</summary>
internal static class JsonTree
{
    /// <exception cref="YamlFaultException"/>
    public static YamlValue Parse(string text)
    {
        var bytes = Encoding.UTF8.GetBytes(text);
        var reader = new Utf8JsonReader(bytes, new JsonReaderOptions { MaxDepth = YamlLimits.Objects.Depth });
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
            throw new YamlFaultException("is not JSON", new((int)(e.LineNumber ?? 0) + 1, 1), YamlFault.Syntax, e);
        }
        catch (Exception e) when (ObjectReader.IsBadInput(e))
        {
            throw new YamlFaultException("is not JSON", new(1, 1), YamlFault.Syntax, e);
        }
    }

    private static YamlValue Read(ref Utf8JsonReader reader, Lines lines)
    {
        var mark = lines.At(reader.TokenStartIndex);
        if (++lines.Values > YamlLimits.MostNodes)
            throw YamlTree.TooMany(mark);
        switch (reader.TokenType)
        {
            case JsonTokenType.StartObject:
                var entries = new List<YamlEntry>();
                while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
                {
                    var (key, place) = (reader.GetString()!, lines.At(reader.TokenStartIndex));
                    reader.Read();
                    entries.Add(new(key, place, Read(ref reader, lines)));
                }

                return new YamlMapping(mark, entries);
            case JsonTokenType.StartArray:
                var items = new List<YamlValue>();
                while (reader.Read() && reader.TokenType != JsonTokenType.EndArray)
                {
                    items.Add(Read(ref reader, lines));
                }

                return new YamlSequence(mark, items);
            case JsonTokenType.String:
                return new YamlScalar(mark, reader.GetString()!, Quoted: true);
            default:
                return new YamlScalar(mark, Encoding.UTF8.GetString(reader.ValueSpan), Quoted: false);
        }
    }

    /// <summary>Places that only move forward; a column counts bytes.</summary>
    private sealed class Lines(byte[] bytes)
    {
        private int _line = 1;
        private int _begin;
        private int _at;

        /// <summary>Read so far.</summary>
        public int Values { get; set; }

        public YamlMark At(long place)
        {
            var next = int.CreateChecked(place);
            var passed = bytes.AsSpan(_at, next - _at);
            _line += passed.Count((byte)'\n');
            if (passed.LastIndexOf((byte)'\n') is >= 0 and var newline)
                _begin = _at + newline + 1;
            _at = next;
            return new(_line, next - _begin + 1);
        }
    }
}
