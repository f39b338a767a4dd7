using System.Buffers;
using System.Globalization;
using System.Text.Json;
using YamlDotNet.Core;
using YamlDotNet.Core.Events;

namespace EdgeMesh.Kubernetes.Manifests;

/// <summary>A document cannot be read.</summary>
/// <param name="line">1 for the first line.</param>
internal sealed class YamlFaultException(string message, long line, Exception? inner = null) : Exception(message, inner)
{
    public long Line { get; } = line;
}

internal abstract record YamlValue(long Line);

/// <param name="Plain">Not quoted: may be a number, a truth value or null.</param>
internal sealed record YamlScalar(string Text, bool Plain, long Line) : YamlValue(Line);

internal sealed record YamlSequence(List<YamlValue> Items, long Line) : YamlValue(Line);

internal sealed record YamlMapping(List<KeyValuePair<YamlScalar, YamlValue>> Members, long Line) : YamlValue(Line)
{
    public YamlValue? this[string key]
    {
        get
        {
            foreach (var (name, value) in Members)
            {
                if (name.Text == key)
                {
                    return value;
                }
            }

            return null;
        }
    }
}

/// <summary>One YAML document -> a tree with line numbers -> JSON, so that a manifest and an API server's answer are read
/// by the same reader. Depth and size are bounded: a document of a million brackets or of aliases to aliases is a fault,
/// not the end of the process.</summary>
internal static class YamlTree
{
    private const int Deepest = 64;

    // Of a document as it is with its aliases and merges written out, in characters: whoever walks the tree walks that.
    private const int ExpandedAlways = 16 << 10;
    private const int ExpandedPerCharacter = 16;
    private const int CharactersPerNode = 4;

    /// <returns>Null for a document that holds nothing but comments.</returns>
    /// <exception cref="YamlFaultException"/>
    public static YamlValue? Parse(string text, long firstLine = 1)
    {
        try
        {
            var parser = new Parser(new StringReader(text));
            parser.Consume<StreamStart>();
            if (!parser.TryConsume<DocumentStart>(out _))
            {
                return null;
            }

            var value = Read(parser, new Expansion(ExpandedAlways + ((long)ExpandedPerCharacter * text.Length)), firstLine - 1, 0);
            parser.Consume<DocumentEnd>();
            if (parser.Current is not StreamEnd and not null)
            {
                throw new YamlFaultException("holds a second document without a '---' line before it", firstLine - 1 + parser.Current.Start.Line);
            }

            return value is YamlScalar { Plain: true, Text.Length: 0 } ? null : value;
        }
        catch (YamlException e)
        {
            throw new YamlFaultException($"is not YAML: {e.InnerException?.Message ?? e.Message}", firstLine - 1 + Math.Max(e.Start.Line, LastGoodLine(text)), e);
        }
        catch (Exception e) when (e is not (YamlFaultException or OutOfMemoryException))
        {
            // The scanner's own slips on broken input must not be ours.
            throw new YamlFaultException("is not YAML", firstLine - 1 + LastGoodLine(text), e);
        }
    }

    /// <exception cref="YamlFaultException">The document is larger than <paramref name="limit"/> once its aliases are written out.</exception>
    public static ReadOnlyMemory<byte> ToJson(YamlValue value, int limit)
    {
        var buffer = new ArrayBufferWriter<byte>();
        using var writer = new Utf8JsonWriter(buffer);
        Write(writer, value, limit, 0);
        writer.Flush();
        return buffer.WrittenMemory;
    }

    /// <summary>The line of the value that a JSON path (<c>$.spec.ports[0].port</c>) names, or of the nearest one above it.</summary>
    public static long LineOf(YamlValue root, string? path)
    {
        var at = root;
        var line = root.Line;
        foreach (var step in (path ?? "").Split(['.', '[', ']', '$'], StringSplitOptions.RemoveEmptyEntries))
        {
            if (at is YamlMapping mapping)
            {
                var found = mapping.Members.Find(m => m.Key.Text == step.Trim('\''));
                if (found.Key is null)
                {
                    break;
                }

                line = found.Key.Line;
                at = found.Value;
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

    /// <summary>Where the parser still understood the text: some of its exceptions name only the first line.</summary>
    private static long LastGoodLine(string text)
    {
        var line = 1L;
        try
        {
            var parser = new Parser(new StringReader(text));
            while (parser.MoveNext())
            {
                line = Math.Max(line, parser.Current!.End.Line);
            }
        }
        catch (Exception e) when (e is not OutOfMemoryException)
        {
            // The fault that is being located.
        }

        return line;
    }

    private static YamlValue Read(Parser parser, Expansion expansion, long offset, int depth)
    {
        if (depth > Deepest)
        {
            throw new YamlFaultException($"is nested deeper than {Deepest} levels", offset + (parser.Current?.Start.Line ?? 1));
        }

        YamlValue value;
        AnchorName anchor;
        var before = expansion.Size;
        if (parser.TryConsume<Scalar>(out var scalar))
        {
            anchor = scalar.Anchor;
            expansion.Add(CharactersPerNode + scalar.Value.Length, offset + scalar.Start.Line);
            value = new YamlScalar(scalar.Value, scalar.Style == ScalarStyle.Plain && scalar.Tag.IsEmpty, offset + scalar.Start.Line);
        }
        else if (parser.TryConsume<SequenceStart>(out var sequence))
        {
            anchor = sequence.Anchor;
            expansion.Add(CharactersPerNode, offset + sequence.Start.Line);
            var items = new List<YamlValue>();
            while (!parser.TryConsume<SequenceEnd>(out _))
            {
                items.Add(Read(parser, expansion, offset, depth + 1));
            }

            value = new YamlSequence(items, offset + sequence.Start.Line);
        }
        else if (parser.TryConsume<MappingStart>(out var mapping))
        {
            anchor = mapping.Anchor;
            expansion.Add(CharactersPerNode, offset + mapping.Start.Line);
            value = ReadMapping(parser, expansion, offset, depth, offset + mapping.Start.Line);
        }
        else if (parser.TryConsume<AnchorAlias>(out var alias))
        {
            if (!expansion.Anchors.TryGetValue(alias.Value.Value, out var known))
                throw new YamlFaultException($"refers to the unknown anchor '{alias.Value.Value}'", offset + alias.Start.Line);
            expansion.Add(known.Size, offset + alias.Start.Line);
            return known.Value;
        }
        else
        {
            throw new YamlFaultException("is cut off", offset + (parser.Current?.Start.Line ?? 1));
        }

        if (!anchor.IsEmpty)
        {
            expansion.Anchors[anchor.Value] = (value, expansion.Size - before);
        }

        return value;
    }

    /// <summary>How large a document has become with everything written out that its aliases stand for. A merge has an alias for
    /// its value, and is counted with it.</summary>
    private sealed class Expansion(long limit)
    {
        public Dictionary<string, (YamlValue Value, long Size)> Anchors { get; } = new(StringComparer.Ordinal);

        public long Size { get; private set; }

        public void Add(long characters, long line)
        {
            Size += characters;
            if (Size > limit)
                throw new YamlFaultException($"has aliases that make it larger than {limit >> 10} KB when they are written out", line);
        }
    }

    private static YamlMapping ReadMapping(Parser parser, Expansion expansion, long offset, int depth, long line)
    {
        var members = new List<KeyValuePair<YamlScalar, YamlValue>>();
        var names = new HashSet<string>(StringComparer.Ordinal);
        var merged = new List<YamlMapping>();
        while (!parser.TryConsume<MappingEnd>(out _))
        {
            if (Read(parser, expansion, offset, depth + 1) is not YamlScalar key)
            {
                throw new YamlFaultException("has a key that is not a word", offset + (parser.Current?.Start.Line ?? 1));
            }

            var value = Read(parser, expansion, offset, depth + 1);
            if (key is { Text: "<<", Plain: true } && value is YamlMapping parent)
            {
                merged.Add(parent);
            }
            else if (names.Add(key.Text))
            {
                members.Add(new(key, value));
            }
            else
            {
                throw new YamlFaultException($"says '{key.Text}' twice", key.Line);
            }
        }

        foreach (var member in merged.SelectMany(m => m.Members).Where(m => names.Add(m.Key.Text)))
        {
            members.Add(member);
        }

        return new(members, line);
    }

    private static void Write(Utf8JsonWriter writer, YamlValue value, int limit, int depth)
    {
        // Aliases let a small text grow without bound in either direction.
        if (writer.BytesCommitted + writer.BytesPending > limit || depth > Deepest)
        {
            throw new YamlFaultException($"is larger than {limit >> 10} KB or deeper than {Deepest} levels when written out", value.Line);
        }

        switch (value)
        {
            case YamlScalar scalar:
                WriteScalar(writer, scalar);
                break;
            case YamlSequence sequence:
                writer.WriteStartArray();
                foreach (var item in sequence.Items)
                {
                    Write(writer, item, limit, depth + 1);
                }

                writer.WriteEndArray();
                break;
            case YamlMapping mapping:
                writer.WriteStartObject();
                foreach (var (key, member) in mapping.Members)
                {
                    writer.WritePropertyName(key.Text);
                    Write(writer, member, limit, depth + 1);
                }

                writer.WriteEndObject();
                break;
        }
    }

    private static void WriteScalar(Utf8JsonWriter writer, YamlScalar scalar)
    {
        if (!scalar.Plain)
        {
            writer.WriteStringValue(scalar.Text);
            return;
        }

        switch (scalar.Text)
        {
            case "" or "~" or "null" or "Null" or "NULL":
                writer.WriteNullValue();
                break;
            case "true" or "True" or "TRUE":
                writer.WriteBooleanValue(true);
                break;
            case "false" or "False" or "FALSE":
                writer.WriteBooleanValue(false);
                break;
            default:
                if (long.TryParse(scalar.Text, NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out var whole))
                {
                    writer.WriteNumberValue(whole);
                }
                else if (scalar.Text[0] is (>= '0' and <= '9') or '-' or '+' or '.'
                    && double.TryParse(scalar.Text, NumberStyles.AllowLeadingSign | NumberStyles.AllowDecimalPoint | NumberStyles.AllowExponent, CultureInfo.InvariantCulture, out var number)
                    && double.IsFinite(number))
                {
                    writer.WriteNumberValue(number);
                }
                else
                {
                    writer.WriteStringValue(scalar.Text);
                }

                break;
        }
    }
}
