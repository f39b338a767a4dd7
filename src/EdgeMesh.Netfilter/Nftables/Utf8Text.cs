using System.Buffers;
using System.Runtime.CompilerServices;
using System.Text;

namespace EdgeMesh.Netfilter.Nftables;

/// <summary>UTF-8 text in pooled segments: the text of 10,000 services is several megabytes, which as one string
/// would live on the large object heap.</summary>
/// <param name="silent">Keeps nothing, and values for it are not even formatted.</param>
internal sealed class Utf8Text(bool silent = false) : IDisposable
{
    private const int SegmentSize = 64 * 1024;

    private readonly List<byte[]> segments = [];
    private int used = SegmentSize;

    private bool IsSilent => silent;

    public long Length => segments.Count == 0 ? 0 : ((long)(segments.Count - 1) * SegmentSize) + used;

    /// <summary>Adds the text, and nothing after it.</summary>
    public void Append([InterpolatedStringHandlerArgument("")] ref Appender text) => _ = text;

    public void Append(ReadOnlySpan<char> text)
    {
        if (silent)
            return;
        Span<byte> bytes = stackalloc byte[256];
        while (!text.IsEmpty)
        {
            var part = text[..Math.Min(text.Length, 80)];
            AppendBytes(bytes[..Encoding.UTF8.GetBytes(part, bytes)]);
            text = text[part.Length..];
        }
    }

    public async Task WriteToAsync(Stream stream, CancellationToken cancellationToken)
    {
        for (var i = 0; i < segments.Count; i++)
            await stream.WriteAsync(segments[i].AsMemory(0, LengthOf(i)), cancellationToken);
    }

    public override string ToString()
    {
        var text = new StringBuilder();
        var decoder = Encoding.UTF8.GetDecoder();
        var chars = new char[SegmentSize];
        for (var i = 0; i < segments.Count; i++)
            text.Append(chars, 0, decoder.GetChars(segments[i].AsSpan(0, LengthOf(i)), chars, flush: false));
        return text.ToString();
    }

    public void Dispose()
    {
        foreach (var segment in segments)
            ArrayPool<byte>.Shared.Return(segment);
        segments.Clear();
        used = SegmentSize;
    }

    private int LengthOf(int segment) => segment == segments.Count - 1 ? used : SegmentSize;

    private void AppendBytes(ReadOnlySpan<byte> bytes)
    {
        while (!bytes.IsEmpty)
        {
            if (used == SegmentSize)
            {
                segments.Add(ArrayPool<byte>.Shared.Rent(SegmentSize));
                used = 0;
            }

            var part = bytes[..Math.Min(bytes.Length, SegmentSize - used)];
            part.CopyTo(segments[^1].AsSpan(used));
            used += part.Length;
            bytes = bytes[part.Length..];
        }
    }

    /// <summary>Lets <c>$"..."</c> be written straight into the segments.</summary>
    [InterpolatedStringHandler]
    public readonly ref struct Appender
    {
        private readonly Utf8Text target;

        public Appender(int literalLength, int formattedCount, Utf8Text target, out bool wanted)
        {
            wanted = !target.IsSilent;
            _ = literalLength;
            _ = formattedCount;
            this.target = target;
        }

        public void AppendLiteral(string value) => target.Append(value);

        public void AppendFormatted(string value) => target.Append(value);

        public void AppendFormatted<T>(T value)
            where T : IUtf8SpanFormattable
        {
            Span<byte> bytes = stackalloc byte[80];
            if (!value.TryFormat(bytes, out var written, default, null))
                throw new ArgumentException("A value in rule text is longer than 80 bytes.", nameof(value));
            target.AppendBytes(bytes[..written]);
        }
    }
}
