using System.Buffers;
using System.Text;
using System.Text.Json;

namespace EdgeMesh.Kubernetes.Api;

/// <summary>Names a place in a JSON text. Found by reading the text again, so that reading without a fault pays nothing for it.</summary>
internal static class JsonPath
{
    private const int Longest = 200;
    private static readonly SearchValues<char> Special = SearchValues.Create(". '/\"[]()\t\n\r\f\b\\\u0085\u2028\u2029");

    /// <returns>The path of the innermost value that begins at or before the offset (<c>$.spec.ports[0].port</c>); <c>$</c> is
    /// the whole.</returns>
    public static string At(ReadOnlySpan<byte> json, long offset)
    {
        var steps = new List<(string? Name, int Index)>();
        try
        {
            var reader = new Utf8JsonReader(json);
            while (reader.Read() && reader.TokenStartIndex <= offset)
            {
                if (reader.TokenType == JsonTokenType.PropertyName)
                {
                    steps[^1] = (reader.GetString(), -1);
                    continue;
                }

                if (reader.TokenType is JsonTokenType.EndObject or JsonTokenType.EndArray)
                {
                    steps.RemoveAt(steps.Count - 1);
                    continue;
                }

                if (steps.Count > 0 && steps[^1].Name is null)
                    steps[^1] = (null, steps[^1].Index + 1);
                if (reader.TokenStartIndex == offset)
                    break;
                if (reader.TokenType is JsonTokenType.StartObject or JsonTokenType.StartArray)
                    steps.Add((reader.TokenType == JsonTokenType.StartObject ? "" : null, -1));
            }
        }
        catch (Exception e) when (ObjectReader.IsBadInput(e))
        {
            // The fault that is being located.
        }

        var path = new StringBuilder("$");
        foreach (var (name, index) in steps)
        {
            var step = name is null ? index < 0 ? "" : $"[{index}]" : name.Length == 0 ? "" : name.AsSpan().ContainsAny(Special) ? $"['{name}']" : $".{name}";
            if (path.Length + step.Length > Longest)
                break;
            path.Append(step);
        }

        return path.ToString();
    }
}
