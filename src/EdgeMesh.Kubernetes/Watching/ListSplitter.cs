using System.Buffers;
using System.Text.Json;
using EdgeMesh.Kubernetes.Api;

namespace EdgeMesh.Kubernetes.Watching;

/// <param name="item">One element of <c>items</c>; only its front where it is not whole.</param>
/// <param name="whole">False when the element was larger than the limit and its rest was dropped.</param>
internal delegate void ListItem(ReadOnlySpan<byte> item, bool whole);

/// <summary>
/// Cuts the bytes of a Kubernetes list into its items as they arrive, in pieces of any size, and keeps only what stands
/// around them. A metaServer sends 10,000 services in one answer whatever limit was asked for, so neither the list nor
/// an oversized item may ever be held as a whole. Strings and brackets are followed here; whether an item is good JSON
/// is found when it is read, so that one bad item is one fault.
/// </summary>
internal sealed class ListSplitter(int largestItem, ListItem onItem)
{
    private const int LargestEnvelope = 64 << 10;
    private const int FrontOfTooLong = 8 << 10;

    private readonly ArrayBufferWriter<byte> _envelope = new();
    private readonly ArrayBufferWriter<byte> _item = new();
    private State _state = State.Start;
    private int _depth;
    private int _itemDepth;
    private int _bom;
    private bool _tooLarge;
    private bool _inString;
    private bool _escaped;
    private bool _named;
    private int _stringStart;
    private bool _lastStringIsItems;

    private enum State
    {
        Start,
        Envelope,
        Items,
        Item,
        Scalar,
        Done,
    }

    public void Feed(ReadOnlySpan<byte> bytes)
    {
        while (!bytes.IsEmpty)
        {
            bytes = bytes[(_state == State.Item ? FeedItem(bytes) : FeedOne(bytes[0]))..];
        }
    }

    /// <exception cref="ApiFaultException">The list is cut off or its envelope is not JSON.</exception>
    public ListEnvelope Finish()
    {
        if (_state != State.Done)
        {
            throw Garbage(_state == State.Start ? "an empty answer" : "a list that is cut off");
        }

        try
        {
            return JsonSerializer.Deserialize(_envelope.WrittenSpan, ObjectJson.Default.ListEnvelope) ?? throw Garbage("null");
        }
        catch (Exception e) when (ObjectReader.IsBadInput(e))
        {
            throw Garbage("something that is not JSON", e);
        }
    }

    private static ApiFaultException Garbage(string what, Exception? inner = null) =>
        new($"the server sent {what} where a list was expected", inner) { ListAgain = true };

    private static bool IsSpace(byte b) => b is (byte)' ' or (byte)'\n' or (byte)'\r' or (byte)'\t';

    // A plain loop: the pieces between two quotes or brackets are too short for a vectorized search to be worth its call.
    private int FeedItem(ReadOnlySpan<byte> bytes)
    {
        var (inString, escaped, depth) = (_inString, _escaped, _depth);
        var length = 0;
        while (length < bytes.Length && depth >= _itemDepth)
        {
            var b = bytes[length++];
            if (inString)
            {
                inString = escaped || b != (byte)'"';
                escaped = !escaped && b == (byte)'\\';
            }
            else if (b == (byte)'"')
            {
                inString = true;
            }
            else if (b is (byte)'{' or (byte)'[')
            {
                depth++;
            }
            else if (b is (byte)'}' or (byte)']')
            {
                depth--;
            }
        }

        (_inString, _escaped, _depth) = (inString, escaped, depth);
        if (!_tooLarge)
        {
            _tooLarge = _item.WrittenCount + length > largestItem;
            _item.Write(bytes[..Math.Min(length, largestItem - _item.WrittenCount)]);
        }

        if (_depth < _itemDepth)
        {
            EndItem(State.Items);
        }

        return length;
    }

    private void EndItem(State next)
    {
        _state = next;
        onItem(_tooLarge ? _item.WrittenSpan[..Math.Min(_item.WrittenCount, FrontOfTooLong)] : _item.WrittenSpan, !_tooLarge);
        _item.ResetWrittenCount();
        _tooLarge = false;
    }

    private int FeedOne(byte b)
    {
        switch (_state)
        {
            case State.Start:
                if (_bom < 3 && b == "\uFEFF"u8[_bom])
                {
                    _bom++;
                }
                else if (b == (byte)'{' && _bom is 0 or 3)
                {
                    _state = State.Envelope;
                    _depth = 1;
                    Keep(b);
                }
                else if (!IsSpace(b))
                {
                    throw Garbage(b == (byte)'<' ? "HTML" : "something that is not JSON");
                }

                return 1;

            case State.Envelope:
                FeedEnvelope(b);
                return 1;

            case State.Items:
                if (b == (byte)']')
                {
                    Keep(b);
                    _depth--;
                    _state = State.Envelope;
                }
                else if (b == (byte)'{')
                {
                    _itemDepth = ++_depth;
                    _state = State.Item;
                    _item.Write([b]);
                }
                else if (!IsSpace(b) && b != (byte)',')
                {
                    _state = State.Scalar;
                    _item.Write([b]);
                }

                return 1;

            case State.Scalar:
                if (b is (byte)',' or (byte)']')
                {
                    EndItem(State.Items);
                    return 0;
                }

                if (_item.WrittenCount < FrontOfTooLong)
                {
                    _item.Write([b]);
                }

                return 1;

            default:
                return IsSpace(b) ? 1 : throw Garbage("more bytes after the end");
        }
    }

    private void FeedEnvelope(byte b)
    {
        Keep(b);
        if (_inString)
        {
            if (_escaped)
            {
                _escaped = false;
            }
            else if (b == (byte)'\\')
            {
                _escaped = true;
            }
            else if (b == (byte)'"')
            {
                _inString = false;
                _lastStringIsItems = _depth == 1 && !_named && _envelope.WrittenSpan[_stringStart..^1].SequenceEqual("items"u8);
            }

            return;
        }

        switch (b)
        {
            case (byte)'"':
                _inString = true;
                _stringStart = _envelope.WrittenCount;
                break;
            case (byte)':':
                _named = true;
                break;
            case (byte)',':
                _named = false;
                break;
            case (byte)'[' when _depth == 1 && _named && _lastStringIsItems:
                _depth++;
                _state = State.Items;
                _named = false;
                _lastStringIsItems = false;
                break;
            case (byte)'{' or (byte)'[':
                _depth++;
                _named = false;
                break;
            case (byte)'}' or (byte)']':
                _named = false;
                if (--_depth == 0)
                {
                    _state = State.Done;
                }

                break;
        }
    }

    private void Keep(byte b)
    {
        if (_envelope.WrittenCount == LargestEnvelope)
        {
            throw Garbage("more than 64 KB that are no items");
        }

        _envelope.GetSpan(1)[0] = b;
        _envelope.Advance(1);
    }
}
