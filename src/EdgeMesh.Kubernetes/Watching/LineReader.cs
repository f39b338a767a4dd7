using System.Buffers;

namespace EdgeMesh.Kubernetes.Watching;

internal enum LineKind
{
    /// <summary>A whole line, without its newline.</summary>
    Line,

    /// <summary>A line over the limit; <see cref="LineReader.Line"/> holds its front, the rest was read and dropped.</summary>
    TooLong,

    /// <summary>The stream ended in the middle of a line.</summary>
    Unfinished,

    End,
}

/// <summary>Splits a stream into lines and never holds more than one line of the limit's length.</summary>
internal sealed class LineReader(Stream stream, int limit) : IDisposable
{
    private const int SmallBuffer = 32 << 10;
    private const int FrontOfTooLong = 8 << 10;

    private byte[] _buffer = ArrayPool<byte>.Shared.Rent(Math.Min(SmallBuffer, limit + 1));
    private int _start;
    private int _end;
    private bool _skipping;

    /// <summary>Valid until the next read.</summary>
    public ReadOnlyMemory<byte> Line { get; private set; }

    /// <summary>Whether the next read will return a line without waiting for the stream.</summary>
    public bool HasLine => _buffer.AsSpan(_start, _end - _start).Contains((byte)'\n');

    public async ValueTask<LineKind> ReadAsync(CancellationToken cancellationToken)
    {
        var searched = _start;
        while (true)
        {
            var newline = _buffer.AsSpan(searched, _end - searched).IndexOf((byte)'\n');
            if (newline >= 0)
            {
                var line = _buffer.AsMemory(_start, searched + newline - _start);
                _start = searched + newline + 1;
                if (_skipping)
                {
                    _skipping = false;
                    searched = _start;
                    continue;
                }

                Line = line;
                return LineKind.Line;
            }

            if (_skipping)
            {
                _start = _end = 0;
            }
            else if (_end - _start > limit)
            {
                Line = _buffer.AsSpan(_start, Math.Min(FrontOfTooLong, limit)).ToArray();
                Shrink();
                _skipping = true;
                return LineKind.TooLong;
            }

            searched = MakeRoom();
            var read = await stream.ReadAsync(_buffer.AsMemory(_end), cancellationToken);
            if (read == 0)
            {
                Line = _skipping ? default : _buffer.AsMemory(_start, _end - _start);
                _start = _end = 0;
                return Line.IsEmpty ? LineKind.End : LineKind.Unfinished;
            }

            _end += read;
        }
    }

    public void Dispose()
    {
        if (_buffer.Length > 0)
        {
            ArrayPool<byte>.Shared.Return(_buffer);
            _buffer = [];
            _start = _end = 0;
            Line = default;
        }
    }

    /// <returns>Where the search for the newline goes on.</returns>
    private int MakeRoom()
    {
        if (_start == _end)
        {
            // One large object must not leave its large buffer behind for the hour that a watch lasts.
            if (_buffer.Length > SmallBuffer * 2)
            {
                Shrink();
            }

            _start = _end = 0;
            return 0;
        }

        if (_end == _buffer.Length)
        {
            var used = _end - _start;
            if (used > _buffer.Length / 2)
            {
                var larger = ArrayPool<byte>.Shared.Rent(Math.Min(Math.Max(_buffer.Length * 2, SmallBuffer), Math.Max(limit + 1, used + 1)));
                _buffer.AsSpan(_start, used).CopyTo(larger);
                ArrayPool<byte>.Shared.Return(_buffer);
                _buffer = larger;
            }
            else
            {
                _buffer.AsSpan(_start, used).CopyTo(_buffer);
            }

            _start = 0;
            _end = used;
        }

        return _end;
    }

    private void Shrink()
    {
        ArrayPool<byte>.Shared.Return(_buffer);
        _buffer = ArrayPool<byte>.Shared.Rent(Math.Min(SmallBuffer, limit + 1));
        _start = _end = 0;
    }
}
