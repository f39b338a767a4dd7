using System.Collections;
using System.Text;
using System.Text.Json;

namespace EdgeMesh.Kubernetes.Api;

/// <summary>The members of one type of object: each is declared once, and read and written by that. A member of the JSON that
/// is not declared is skipped; one that is null or absent leaves the type's empty value.</summary>
/// <remarks>Straight over the tokens, without reflection: a serializer takes three times as long, most of it in generic code
/// that has to be compiled while the agent starts.</remarks>
internal class Schema<T>(Func<T> create) : IEnumerable
{
    private Member[] _members = [];

    public delegate void Setter<TValue>(ref T owner, TValue value);

    /// <summary>Best in the order in which an API server writes them: the next one is looked for first.</summary>
    public void Add<TValue>(string name, JsonShape<TValue> shape, Func<T, TValue> get, Setter<TValue> set) =>
        _members = [.. _members, new Member<TValue>(name, shape, get, set)];

    /// <inheritdoc cref="JsonShape{T}.Read"/>
    public T Read(ref Utf8JsonReader reader)
    {
        if (reader.TokenType != JsonTokenType.StartObject)
            throw new JsonException();
        var value = create();
        var next = 0;
        while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
        {
            var member = Find(ref reader, ref next);
            reader.Read();
            if (member is null)
                reader.Skip();
            else
                member.Read(ref reader, ref value);
        }

        return value;
    }

    public void Write(Utf8JsonWriter writer, T value)
    {
        writer.WriteStartObject();
        foreach (var member in _members)
            member.Write(writer, value);
        writer.WriteEndObject();
    }

    IEnumerator IEnumerable.GetEnumerator() => _members.GetEnumerator();

    private Member? Find(ref Utf8JsonReader reader, ref int next)
    {
        var members = _members;
        for (var i = 0; i < members.Length; i++)
        {
            if (next == members.Length)
                next = 0;
            var member = members[next++];
            if (reader.ValueIsEscaped ? reader.ValueTextEquals(member.Utf8Name) : reader.ValueSpan.SequenceEqual(member.Utf8Name))
                return member;
        }

        return null;
    }

    private abstract class Member(string name)
    {
        public byte[] Utf8Name { get; } = Encoding.UTF8.GetBytes(name);

        public abstract void Read(ref Utf8JsonReader reader, ref T owner);

        public abstract void Write(Utf8JsonWriter writer, T owner);
    }

    private sealed class Member<TValue>(string name, JsonShape<TValue> shape, Func<T, TValue> get, Setter<TValue> set) : Member(name)
    {
        public override void Read(ref Utf8JsonReader reader, ref T owner) => set(ref owner, shape.Read(ref reader));

        public override void Write(Utf8JsonWriter writer, T owner)
        {
            var value = get(owner);
            if (shape.IsAbsent(value))
                return;
            writer.WritePropertyName(Utf8Name);
            shape.Write(writer, value);
        }
    }
}

/// <summary>With the metadata that every object has.</summary>
internal sealed class ObjectSchema<T> : Schema<T>
    where T : KubernetesObject
{
    public ObjectSchema(Func<T> create)
        : base(create) => Add("metadata", JsonShapes.Object(ObjectMeta.Schema), o => o.Metadata, (ref o, v) => o.Metadata = v ?? new());
}
