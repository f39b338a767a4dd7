namespace EdgeMesh.LibP2P.Wire;

/// <summary>
/// Walks over the fields of one protobuf message without copying. Written by hand because the library copies every bytes
/// field into an object of its own and has no limits per field, while these messages are small and come from strangers.
/// <code>while (reader.Next()) switch (reader.Field) { … }  if (reader.Malformed) …</code>
/// </summary>
public ref struct ProtobufReader
{
    private ReadOnlySpan<byte> _rest;

    public ProtobufReader(ReadOnlySpan<byte> message) => _rest = message;

    /// <summary>The number of the field that <see cref="Next"/> found.</summary>
    public int Field { get; private set; }

    /// <summary>Whether the field is a number; otherwise it is bytes, or a fixed width nobody here uses.</summary>
    public bool IsNumber { get; private set; }

    /// <summary>The field's number; zero if it is not one.</summary>
    public ulong Number { get; private set; }

    /// <summary>The field's bytes, text or inner message; empty if it is not one.</summary>
    public ReadOnlySpan<byte> Bytes { get; private set; }

    /// <summary>The message could not be read to its end.</summary>
    public bool Malformed { get; private set; }

    /// <summary>Goes to the next field; false at the end and at what cannot be read.</summary>
    public bool Next()
    {
        Bytes = default;
        Number = 0;
        IsNumber = false;
        if (_rest.IsEmpty)
            return false;
        if (!ReadVarint(out var tag) || tag >> 3 is 0 or > 536_870_911)
            return Fail();
        Field = (int)(tag >> 3);
        switch (tag & 7)
        {
            case 0:
                IsNumber = true;
                if (!ReadVarint(out var number))
                    return Fail();
                Number = number;
                return true;
            case 1:
                return Skip(8);
            case 2:
                if (!ReadVarint(out var length) || length > (ulong)_rest.Length)
                    return Fail();
                Bytes = _rest[..(int)length];
                _rest = _rest[(int)length..];
                return true;
            case 5:
                return Skip(4);
            default:
                return Fail();
        }
    }

    private bool ReadVarint(out ulong value)
    {
        if (Varint.Read(_rest, out value, out var length) != VarintResult.Read)
            return false;
        _rest = _rest[length..];
        return true;
    }

    private bool Skip(int count)
    {
        if (_rest.Length < count)
            return Fail();
        _rest = _rest[count..];
        return true;
    }

    private bool Fail()
    {
        Malformed = true;
        _rest = default;
        return false;
    }
}
