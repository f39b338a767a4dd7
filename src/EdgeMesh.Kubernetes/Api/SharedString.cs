using System.Text.Json;

namespace EdgeMesh.Kubernetes.Api;

/// <summary>One copy of each string that repeats through thousands of objects.</summary>
internal static class SharedString
{
    private const int Buckets = 1024;
    private const int LongestShared = 128;

    // Never locked: a lost race costs one more copy of a string, never a wrong one. A bucket holds the last few strings of one
    // hash, so that two that come in turn (nodes of the endpoints of one slice) do not drive each other out.
    private static readonly string?[] Pool = new string?[Buckets * PerBucket];

    /// <summary>Strings of one hash that the pool keeps.</summary>
    public const int PerBucket = 4;

    /// <summary>The reader stands on a string.</summary>
    public static string? Read(ref Utf8JsonReader reader)
    {
        if (reader.HasValueSequence || reader.ValueSpan.Length > LongestShared)
        {
            return reader.GetString();
        }

        Span<char> text = stackalloc char[LongestShared];
        var length = reader.CopyString(text);
        return Share(text[..length]);
    }

    public static string Share(ReadOnlySpan<char> text)
    {
        if (text.IsEmpty)
        {
            return "";
        }

        // What is this long repeats nowhere, and the pool would keep it for good.
        if (text.Length > LongestShared)
        {
            return text.ToString();
        }

        var bucket = Pool.AsSpan(BucketOf(text) * PerBucket, PerBucket);
        foreach (var pooled in bucket)
        {
            if (pooled is not null && text.SequenceEqual(pooled))
            {
                return pooled;
            }
        }

        bucket[..^1].CopyTo(bucket[1..]);
        return bucket[0] = text.ToString();
    }

    /// <summary>Where strings of this hash are kept; hashes differ from process to process.</summary>
    internal static int BucketOf(ReadOnlySpan<char> text) =>
        (int)((uint)string.GetHashCode(text, StringComparison.Ordinal) % Buckets);
}
