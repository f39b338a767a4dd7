using System.Buffers;
using System.Globalization;
using System.Text.Json;

namespace EdgeMesh.Kubernetes.Yaml;

/// <summary>A tree -> JSON, so that a manifest and an API server's answer are read by the same reader; and back from a place in
/// that JSON to the line.</summary>
internal static class YamlJson
{
    /// <exception cref="YamlFaultException">The document is larger than <paramref name="limit"/> once its aliases are written out.</exception>
    public static ReadOnlyMemory<byte> Write(YamlValue value, int limit)
    {
        var buffer = new ArrayBufferWriter<byte>();
        using var writer = new Utf8JsonWriter(buffer);
        Write(writer, value, limit, 0);
        writer.Flush();
        return buffer.WrittenMemory;
    }

    /// <summary>The line of the value that a JSON path (<c>$.spec.ports[0].port</c>) names, or of the nearest one above it.</summary>
    public static int LineOf(YamlValue root, string? path)
    {
        var at = root;
        var line = root.Line;
        foreach (var step in (path ?? "").Split(['.', '[', ']', '$'], StringSplitOptions.RemoveEmptyEntries))
        {
            if (at is YamlMapping mapping && mapping.Find(step.Trim('\'')) is { } entry)
            {
                (line, at) = (entry.Mark.Line, entry.Value);
            }
            else if (at is YamlSequence sequence && int.TryParse(step, CultureInfo.InvariantCulture, out var index) && index >= 0 && index < sequence.Items.Count)
            {
                at = sequence.Items[index];
                line = at.Line;
            }
            else
            {
                break;
            }
        }

        return line;
    }

    private static void Write(Utf8JsonWriter writer, YamlValue value, int limit, int depth)
    {
        // Aliases let a small text grow without bound in either direction.
        if (writer.BytesCommitted + writer.BytesPending > limit || depth > YamlLimits.Objects.Depth)
            throw new YamlFaultException($"is larger than {limit >> 10} KB or deeper than {YamlLimits.Objects.Depth} levels when written out", value.Mark);
        switch (value)
        {
            case YamlScalar scalar:
                WriteScalar(writer, scalar);
                break;
            case YamlSequence sequence:
                writer.WriteStartArray();
                foreach (var item in sequence.Items)
                    Write(writer, item, limit, depth + 1);
                writer.WriteEndArray();
                break;
            case YamlMapping mapping:
                writer.WriteStartObject();
                foreach (var entry in mapping.Entries)
                {
                    writer.WritePropertyName(entry.Key);
                    Write(writer, entry.Value, limit, depth + 1);
                }

                writer.WriteEndObject();
                break;
        }
    }

    private static void WriteScalar(Utf8JsonWriter writer, YamlScalar scalar)
    {
        var text = scalar.Text;
        if (scalar.IsNull)
            writer.WriteNullValue();
        else if (scalar.Quoted)
            writer.WriteStringValue(text);
        else if (text is "true" or "True" or "TRUE")
            writer.WriteBooleanValue(true);
        else if (text is "false" or "False" or "FALSE")
            writer.WriteBooleanValue(false);
        else if (long.TryParse(text, NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out var whole))
            writer.WriteNumberValue(whole);
        else if (text[0] is (>= '0' and <= '9') or '-' or '+' or '.'
            && double.TryParse(text, NumberStyles.AllowLeadingSign | NumberStyles.AllowDecimalPoint | NumberStyles.AllowExponent, CultureInfo.InvariantCulture, out var number)
            && double.IsFinite(number))
            writer.WriteNumberValue(number);
        else
            writer.WriteStringValue(text);
    }
}
