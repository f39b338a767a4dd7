using System.Collections.Immutable;
using System.Text.Json;

namespace EdgeMesh.Kubernetes.Api;

/// <summary>How one type of value stands in JSON: read and written in one place.</summary>
internal abstract class JsonShape<T>
{
    /// <param name="reader">On the first token of the value; afterwards on its last.</param>
    /// <exception cref="JsonException">It is no value of this shape. The reader says where.</exception>
    public abstract T Read(ref Utf8JsonReader reader);

    public abstract void Write(Utf8JsonWriter writer, T value);

    /// <summary>A member with this value is not written: it reads back as the same where it is absent.</summary>
    public virtual bool IsAbsent(T value) => value is null;
}

internal static class JsonShapes
{
    public static JsonShape<string?> Text { get; } = new TextShape(isShared: false);

    /// <summary>A string that repeats through thousands of objects: node names, namespaces, zones, protocols.</summary>
    public static JsonShape<string?> SharedText { get; } = new TextShape(isShared: true);

    public static JsonShape<ImmutableArray<string>> Texts { get; } = new ListShape<string>(Text);

    public static JsonShape<int> Number { get; } = new NumberShape();

    public static JsonShape<int?> OptionalNumber { get; } = new OptionalNumberShape();

    public static JsonShape<bool?> Flag { get; } = new FlagShape();

    public static JsonShape<T?> Object<T>(Schema<T> schema)
        where T : class => new ObjectShape<T>(schema);

    /// <summary>An object that is a value type: it costs no allocation.</summary>
    public static JsonShape<T?> Value<T>(Schema<T> schema)
        where T : struct => new ValueShape<T>(schema);

    public static JsonShape<ImmutableArray<T>> List<T>(Schema<T> schema)
        where T : class => new ListShape<T>(new ObjectShape<T>(schema));

    private sealed class TextShape(bool isShared) : JsonShape<string?>
    {
        public override string? Read(ref Utf8JsonReader reader) => reader.TokenType switch
        {
            JsonTokenType.String => isShared ? SharedString.Read(ref reader) : reader.GetString(),
            JsonTokenType.Null => null,
            _ => throw new JsonException(),
        };

        public override void Write(Utf8JsonWriter writer, string? value) => writer.WriteStringValue(value);
    }

    private sealed class NumberShape : JsonShape<int>
    {
        public override int Read(ref Utf8JsonReader reader) =>
            reader.TokenType == JsonTokenType.Number && reader.TryGetInt32(out var number) ? number : throw new JsonException();

        public override void Write(Utf8JsonWriter writer, int value) => writer.WriteNumberValue(value);

        public override bool IsAbsent(int value) => value == 0;
    }

    private sealed class OptionalNumberShape : JsonShape<int?>
    {
        public override int? Read(ref Utf8JsonReader reader) => reader.TokenType == JsonTokenType.Null ? null : Number.Read(ref reader);

        public override void Write(Utf8JsonWriter writer, int? value) => writer.WriteNumberValue(value.GetValueOrDefault());
    }

    private sealed class FlagShape : JsonShape<bool?>
    {
        public override bool? Read(ref Utf8JsonReader reader) => reader.TokenType switch
        {
            JsonTokenType.True => true,
            JsonTokenType.False => false,
            JsonTokenType.Null => null,
            _ => throw new JsonException(),
        };

        public override void Write(Utf8JsonWriter writer, bool? value) => writer.WriteBooleanValue(value.GetValueOrDefault());
    }

    private sealed class ObjectShape<T>(Schema<T> schema) : JsonShape<T?>
        where T : class
    {
        public override T? Read(ref Utf8JsonReader reader) => reader.TokenType == JsonTokenType.Null ? null : schema.Read(ref reader);

        public override void Write(Utf8JsonWriter writer, T? value) => schema.Write(writer, value!);
    }

    private sealed class ValueShape<T>(Schema<T> schema) : JsonShape<T?>
        where T : struct
    {
        public override T? Read(ref Utf8JsonReader reader) => reader.TokenType == JsonTokenType.Null ? null : schema.Read(ref reader);

        public override void Write(Utf8JsonWriter writer, T? value) => schema.Write(writer, value.GetValueOrDefault());
    }

    /// <summary>An array where null means empty (Go writes a nil slice as null), and no element may be null.</summary>
    private sealed class ListShape<T>(JsonShape<T?> element) : JsonShape<ImmutableArray<T>>
        where T : class
    {
        private const int MostKept = 1024;

        // Where the elements of a list are put until their number is known. Taken while in use: a list may hold lists of its kind.
        [ThreadStatic]
        private static T[]? scratch;

        public override ImmutableArray<T> Read(ref Utf8JsonReader reader)
        {
            if (reader.TokenType == JsonTokenType.Null)
                return [];
            if (reader.TokenType != JsonTokenType.StartArray)
                throw new JsonException();
            if (Next(ref reader) is not { } first)
                return [];
            if (Next(ref reader) is not { } item)
                return [first];
            var items = scratch ?? new T[16];
            scratch = null;
            items[0] = first;
            var count = 1;
            try
            {
                for (var next = item; next is not null; next = Next(ref reader))
                {
                    if (count == items.Length)
                        Array.Resize(ref items, 2 * count);
                    items[count++] = next;
                }

                return ImmutableArray.Create(items, 0, count);
            }
            finally
            {
                Array.Clear(items, 0, count);
                scratch = items.Length <= MostKept ? items : null;
            }
        }

        public override void Write(Utf8JsonWriter writer, ImmutableArray<T> value)
        {
            writer.WriteStartArray();
            foreach (var item in value)
                element.Write(writer, item);
            writer.WriteEndArray();
        }

        public override bool IsAbsent(ImmutableArray<T> value) => value.IsDefaultOrEmpty;

        private T? Next(ref Utf8JsonReader reader)
        {
            reader.Read();
            return reader.TokenType == JsonTokenType.EndArray ? null : element.Read(ref reader) ?? throw new JsonException();
        }
    }
}
