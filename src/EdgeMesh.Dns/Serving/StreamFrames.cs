using System.Buffers.Binary;

namespace EdgeMesh.Dns.Serving;

/// <summary>Cuts a stream into messages: two bytes of length, then so many bytes (RFC 1035, 4.2.2), however they arrive.</summary>
/// <remarks>A message that arrives whole is not copied. For one that arrives in pieces no more memory is held than the pieces need,
/// and a small buffer afterwards.
/// Of a message beyond <paramref name="longest"/> only the front is kept: enough to say to whom it is refused.</remarks>
public sealed class StreamFrames(int longest)
{
    private const int FirstSize = 512;

    private byte[] _buffer = [];
    private int _count;
    private int _skip;

    /// <summary>A message has begun and not ended.</summary>
    public bool IsWithin => _count > 0 || _skip > 0;

    /// <summary>Takes the next message out of <paramref name="input"/>, or keeps what is there of it.</summary>
    /// <param name="input">What is left of it afterwards is still to be given.</param>
    /// <param name="message">Valid until the next call; at most as long as the longest.</param>
    /// <returns>False: all of the input is taken, and more is needed.</returns>
    public bool TryRead(scoped ref ReadOnlySpan<byte> input, out ReadOnlySpan<byte> message)
    {
        message = default;
        if (_skip > 0)
        {
            var skipped = Math.Min(_skip, input.Length);
            _skip -= skipped;
            input = input[skipped..];
            if (_skip > 0)
                return false;
        }

        if (_count == 0 && input.Length >= 2 && BinaryPrimitives.ReadUInt16BigEndian(input) is var whole && whole <= longest && input.Length - 2 >= whole)
        {
            message = input.Slice(2, whole);
            input = input[(2 + whole)..];
            return true;
        }

        if (_count < 2 && !Take(ref input, 2))
            return false;
        int length = BinaryPrimitives.ReadUInt16BigEndian(_buffer);
        var kept = Math.Min(length, longest);
        if (!Take(ref input, 2 + kept))
            return false;
        message = _buffer.AsSpan(2, kept);
        _skip = length - kept;
        _count = 0;
        // The caller still reads the old one.
        if (_buffer.Length > FirstSize)
            _buffer = [];
        return true;
    }

    private bool Take(scoped ref ReadOnlySpan<byte> input, int upTo)
    {
        var taken = Math.Min(upTo - _count, input.Length);
        if (_buffer.Length < _count + taken)
            Array.Resize(ref _buffer, Math.Min(Math.Max(Math.Max(FirstSize, _buffer.Length * 2), _count + taken), Math.Max(longest + 2, FirstSize)));
        input[..taken].CopyTo(_buffer.AsSpan(_count));
        _count += taken;
        input = input[taken..];
        return _count >= upTo;
    }
}
