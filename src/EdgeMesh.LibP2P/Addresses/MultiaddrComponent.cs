using System.Diagnostics.CodeAnalysis;
using EdgeMesh.LibP2P.Wire;

namespace EdgeMesh.LibP2P.Addresses;

/// <summary>One step of a multiaddr: a protocol and its value.</summary>
public sealed class MultiaddrComponent
{
    private readonly byte[] _value;

    internal MultiaddrComponent(MultiaddrProtocol protocol, byte[] value, string text)
    {
        Protocol = protocol;
        _value = value;
        Text = text;
    }

    public MultiaddrProtocol Protocol { get; }

    /// <summary>The value's text; empty for a protocol without a value.</summary>
    public string Text { get; }

    /// <summary>The value's bytes, without their length.</summary>
    public ReadOnlyMemory<byte> Value => _value;

    internal int Length =>
        Varint.Length((ulong)Protocol.Code) + (Protocol.Size < 0 ? Varint.Length((ulong)_value.Length) : 0) + _value.Length;

    internal static bool TryDecode(ref ReadOnlySpan<byte> bytes, [NotNullWhen(true)] out MultiaddrComponent? component)
    {
        component = null;
        if (Varint.Read(bytes, out var code, out var used) != VarintResult.Read || MultiaddrProtocol.Find(code) is not { } protocol)
            return false;
        var rest = bytes[used..];
        var size = (ulong)Math.Max(protocol.Size, 0);
        if (protocol.Size < 0)
        {
            if (Varint.Read(rest, out size, out used) != VarintResult.Read)
                return false;
            rest = rest[used..];
        }

        if (size > (ulong)rest.Length)
            return false;
        var value = rest[..(int)size].ToArray();
        if (protocol.ToText(value) is not { } text)
            return false;
        bytes = rest[(int)size..];
        component = new MultiaddrComponent(protocol, value, text);
        return true;
    }

    internal void Append(ByteQueue queue)
    {
        queue.Commit(Varint.Write(queue.Reserve(Varint.Length((ulong)Protocol.Code)), (ulong)Protocol.Code));
        if (Protocol.Size < 0)
            queue.Commit(Varint.Write(queue.Reserve(Varint.Length((ulong)_value.Length)), (ulong)_value.Length));
        queue.Append(_value);
    }

    public override string ToString() => Protocol.Size == 0 ? $"/{Protocol.Name}" : $"/{Protocol.Name}/{Text}";
}
