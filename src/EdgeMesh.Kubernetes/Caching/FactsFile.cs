using System.Buffers;
using System.Collections.Immutable;
using System.Security.Cryptography;
using System.Text.Json;
using System.Text.Json.Serialization;
using EdgeMesh.Kubernetes.Api;
using EdgeMesh.Kubernetes.Watching;

namespace EdgeMesh.Kubernetes.Caching;

/// <summary>The cached facts cannot be used; the message says why.</summary>
internal sealed class FactsFileException(string message, Exception? inner = null) : Exception(message, inner);

/// <summary>
/// Facts on disk, one JSON value per line:
/// <code>
/// {"format":"edgemesh-facts","version":3,"source":{"configured":"…","server":"…","authority":"…"},"asOf":"…","nodeLabels":{…},"cloud":[{"kind":"services","version":"…","deleted":{"namespace/name":"version"}}]}
/// {"service":{…}} | {"slice":{…}} | {"endpoints":{…}}      one per object, by Kind.CachedAs
/// {"sha256":"hex of all lines before this one, newlines included"}
/// </code>
/// The last line is also the proof that the file is whole. Read and written line by line, so that 10,000 services never
/// stand in memory as text.
/// </summary>
internal static class FactsFile
{
    public const int Version = 3;

    /// <summary>The same without the cloud's word.</summary>
    private const int OldestVersion = 2;
    private const string Format = "edgemesh-facts";

    private const int MostFaults = 100;

    /// <summary>Many times what 10,000 services with their slices take.</summary>
    private const long Largest = 512L << 20;

    /// <summary>A temporary file beside it, synced, then renamed over it: whoever reads sees the old or the new one. The
    /// folder is not synced: after a power cut the old file is as good as any.</summary>
    /// <exception cref="IOException"/>
    /// <exception cref="UnauthorizedAccessException"/>
    public static async Task WriteAsync(string path, ClusterIdentity source, ClusterFacts facts, CancellationToken cancellationToken, IEnumerable<Kind>? kinds = null)
    {
        Directory.CreateDirectory(Path.GetDirectoryName(path)!, UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute);
        var temporary = path + ".tmp";
        File.Delete(temporary);
        try
        {
            await WriteAllAsync(temporary, source, facts, kinds ?? Kinds.All, cancellationToken);
            File.Move(temporary, path, overwrite: true);
        }
        catch
        {
            // On a full disk half a file would only take what room is left.
            File.Delete(temporary);
            throw;
        }
    }

    private static async Task WriteAllAsync(string temporary, ClusterIdentity source, ClusterFacts facts, IEnumerable<Kind> kinds, CancellationToken cancellationToken)
    {
        await using var file = new FileStream(temporary, new FileStreamOptions
        {
            Mode = FileMode.CreateNew,
            Access = FileAccess.Write,
            Options = FileOptions.Asynchronous,
            // Names and addresses of a whole cluster are nobody else's business.
            UnixCreateMode = UnixFileMode.UserRead | UnixFileMode.UserWrite,
        });
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        var buffer = new ArrayBufferWriter<byte>(64 << 10);
        Line(buffer, new FactsLine { Format = Format, Version = Version, Source = source, AsOf = facts.AsOf, NodeLabels = new(facts.NodeLabels), Cloud = facts.Cloud.IsEmpty ? null : [.. facts.Cloud.Select(CloudLine.Of)] });
        foreach (var (kind, value) in kinds.Where(k => k.CachePrefix is not null).SelectMany(k => k.In(facts).Select(o => (k, o))))
        {
            buffer.Write(kind.CachePrefix);
            using (var writer = new Utf8JsonWriter(buffer))
                kind.Write(writer, value);
            buffer.Write("}\n"u8);
            if (buffer.WrittenCount > 48 << 10)
            {
                await FlushAsync(file, hash, buffer, cancellationToken);
            }
        }

        await FlushAsync(file, hash, buffer, cancellationToken);
        Line(buffer, new FactsLine { Sha256 = Convert.ToHexString(hash.GetHashAndReset()) });
        await file.WriteAsync(buffer.WrittenMemory, cancellationToken);
        await file.FlushAsync(cancellationToken);
        file.Flush(flushToDisk: true);
    }

    /// <returns>Null when there is no file.</returns>
    /// <exception cref="FactsFileException">There is one and it cannot be used.</exception>
    public static async Task<CachedFacts?> ReadAsync(string path, ClusterIdentity source, CancellationToken cancellationToken, IEnumerable<Kind>? kinds = null)
    {
        try
        {
            await using var file = SmallFile.Open(path) ?? throw new FactsFileException("it is empty, or no file");
            if (file.Length > Largest)
                throw new FactsFileException($"it is larger than {Largest >> 20} MB, and this program writes none of that size");
            return await ReadAsync(file, source, cancellationToken, kinds);
        }
        catch (Exception e) when (e is FileNotFoundException or DirectoryNotFoundException)
        {
            return null;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new FactsFileException($"it cannot be read: {e.Message}", e);
        }
    }

    internal static async Task<CachedFacts> ReadAsync(Stream file, ClusterIdentity source, CancellationToken cancellationToken, IEnumerable<Kind>? kinds = null)
    {
        using var lines = new LineReader(file, ObjectReader.LargestObject * 2);
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        var cached = (kinds ?? Kinds.All).Where(kind => kind.CachePrefix is not null).ToDictionary(kind => kind, _ => new List<KubernetesObject>());
        FactsLine? head = null;
        var faults = new List<string>();
        while (await lines.ReadAsync(cancellationToken) == LineKind.Line)
        {
            if (head is null)
            {
                head = Head(Parse(lines.Line.Span), source);
            }
            else if (lines.Line.Span.EndsWith("}"u8) && cached.FirstOrDefault(c => lines.Line.Span.StartsWith(c.Key.CachePrefix)) is { Key: { } kind, Value: var objects })
            {
                var (value, fault) = kind.ReadAny(lines.Line.Span[kind.CachePrefix!.Length..^1]);
                if (value is not null)
                {
                    objects.Add(value);
                }
                else if (faults.Count < MostFaults)
                {
                    faults.Add($"{kind.Name} {fault!.Name} {fault.Message}");
                }
            }
            else if (Parse(lines.Line.Span).Sha256 is { } expected)
            {
                if (expected != Convert.ToHexString(hash.GetHashAndReset()))
                {
                    throw new FactsFileException("its checksum does not fit");
                }

                var facts = new ClusterFacts
                {
                    NodeLabels = head.NodeLabels?.ToImmutableDictionary(StringComparer.Ordinal) ?? ImmutableDictionary<string, string>.Empty,
                    Cloud = (head.Cloud ?? []).Where(c => c?.Kind is not null).DistinctBy(c => c.Kind, StringComparer.Ordinal).ToImmutableDictionary(c => c.Kind!, c => c.Word(), StringComparer.Ordinal),
                    Origin = FactsOrigin.Cache,
                    AsOf = head.AsOf ?? default,
                };
                return new(head.Source!, cached.Aggregate(facts, (all, c) => c.Key.Put(all, c.Value, before: null)), [.. faults]);
            }

            hash.AppendData(lines.Line.Span);
            hash.AppendData("\n"u8);
        }

        throw new FactsFileException("it is cut off");
    }

    private static FactsLine Head(FactsLine line, ClusterIdentity source)
    {
        if (line.Format != Format)
        {
            throw new FactsFileException("it is not a cache of facts");
        }

        if (line.Version is not (>= OldestVersion and <= Version))
        {
            throw new FactsFileException($"it has version {line.Version} and this program reads versions {OldestVersion} to {Version}");
        }

        return line.Source is { } kept && source.Accepts(kept) ? line : throw new FactsFileException("it is of another cluster or source");
    }

    private static FactsLine Parse(ReadOnlySpan<byte> line)
    {
        try
        {
            return JsonSerializer.Deserialize(line, FactsJson.Default.FactsLine) ?? throw new FactsFileException("a line of it is null");
        }
        catch (Exception e) when (ObjectReader.IsBadInput(e))
        {
            throw new FactsFileException("a line of it is not JSON of a cache", e);
        }
    }

    private static void Line(ArrayBufferWriter<byte> buffer, FactsLine line)
    {
        using (var writer = new Utf8JsonWriter(buffer))
        {
            JsonSerializer.Serialize(writer, line, FactsJson.Default.FactsLine);
        }

        buffer.Write("\n"u8);
    }

    private static async Task FlushAsync(FileStream file, IncrementalHash hash, ArrayBufferWriter<byte> buffer, CancellationToken cancellationToken)
    {
        hash.AppendData(buffer.WrittenSpan);
        await file.WriteAsync(buffer.WrittenMemory, cancellationToken);
        buffer.ResetWrittenCount();
    }
}

/// <param name="Source">Whose facts they are.</param>
/// <param name="Faults">Objects that are not among them, because nobody would take them from a server.</param>
internal sealed record CachedFacts(ClusterIdentity Source, ClusterFacts Facts, ImmutableArray<string> Faults);

/// <summary>The first line, or the last.</summary>
internal sealed class FactsLine
{
    public string? Format { get; set; }

    public int? Version { get; set; }

    public ClusterIdentity? Source { get; set; }

    public DateTimeOffset? AsOf { get; set; }

    public Dictionary<string, string>? NodeLabels { get; set; }

    public CloudLine[]? Cloud { get; set; }

    public string? Sha256 { get; set; }
}

/// <summary>What the cloud last said of one kind.</summary>
internal sealed class CloudLine
{
    public string? Kind { get; set; }

    public string? Version { get; set; }

    public Dictionary<string, string>? Deleted { get; set; }

    public static CloudLine Of(KeyValuePair<string, CloudWord> word) => new()
    {
        Kind = word.Key,
        Version = word.Value.Version,
        Deleted = word.Value.Deleted.IsEmpty ? null : word.Value.Deleted.ToDictionary(d => d.Key.ToString(), d => d.Value, StringComparer.Ordinal),
    };

    public CloudWord Word() => new(Version, (Deleted ?? []).Where(d => d.Value is not null).ToImmutableDictionary(d => Name(d.Key), d => d.Value));

    private static ObjectName Name(string text)
    {
        var slash = text.IndexOf('/', StringComparison.Ordinal);
        return slash < 0 ? new("", text) : new(text[..slash], text[(slash + 1)..]);
    }
}

[JsonSourceGenerationOptions(
    PropertyNamingPolicy = JsonKnownNamingPolicy.CamelCase,
    DefaultIgnoreCondition = JsonIgnoreCondition.WhenWritingNull,
    GenerationMode = JsonSourceGenerationMode.Metadata)]
[JsonSerializable(typeof(FactsLine))]
internal sealed partial class FactsJson : JsonSerializerContext;
