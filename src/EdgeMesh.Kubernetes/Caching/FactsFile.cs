using System.Buffers;
using System.Collections.Immutable;
using System.Security.Cryptography;
using System.Text.Json;
using System.Text.Json.Serialization;
using System.Text.Json.Serialization.Metadata;
using EdgeMesh.Kubernetes.Api;
using EdgeMesh.Kubernetes.Watching;

namespace EdgeMesh.Kubernetes.Caching;

/// <summary>The cached facts cannot be used; the message says why.</summary>
internal sealed class FactsFileException(string message, Exception? inner = null) : Exception(message, inner);

/// <summary>
/// Facts on disk, one JSON value per line:
/// <code>
/// {"format":"edgemesh-facts","version":3,"source":{"configured":"…","server":"…","authority":"…"},"asOf":"…","nodeLabels":{…},"cloud":[{"kind":"services","version":"…","deleted":{"namespace/name":"version"}}]}
/// {"service":{…}} | {"slice":{…}} | {"endpoints":{…}}      one per object
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

    /// <summary>A temporary file beside it, synced, then renamed over it: whoever reads sees the old or the new one. The
    /// folder is not synced: after a power cut the old file is as good as any.</summary>
    /// <exception cref="IOException"/>
    /// <exception cref="UnauthorizedAccessException"/>
    public static async Task WriteAsync(string path, ClusterIdentity source, ClusterFacts facts, CancellationToken cancellationToken)
    {
        Directory.CreateDirectory(Path.GetDirectoryName(path)!, UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute);
        var temporary = path + ".tmp";
        File.Delete(temporary);
        try
        {
            await WriteAllAsync(temporary, source, facts, cancellationToken);
            File.Move(temporary, path, overwrite: true);
        }
        catch
        {
            // On a full disk half a file would only take what room is left.
            File.Delete(temporary);
            throw;
        }
    }

    private static async Task WriteAllAsync(string temporary, ClusterIdentity source, ClusterFacts facts, CancellationToken cancellationToken)
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
        foreach (var line in facts.Services.Values.Select(s => new FactsLine { Service = s })
            .Concat(facts.EndpointSlices.Values.Select(s => new FactsLine { Slice = s }))
            .Concat(facts.Endpoints.Values.Select(e => new FactsLine { Endpoints = e })))
        {
            Line(buffer, line);
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
    public static async Task<CachedFacts?> ReadAsync(string path, ClusterIdentity source, CancellationToken cancellationToken)
    {
        try
        {
            await using var file = SmallFile.Open(path) ?? throw new FactsFileException("it is empty, or no file");
            return await ReadAsync(file, source, cancellationToken);
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

    internal static async Task<CachedFacts> ReadAsync(Stream file, ClusterIdentity source, CancellationToken cancellationToken)
    {
        using var lines = new LineReader(file, ObjectReader.LargestObject * 2);
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        var services = ImmutableDictionary.CreateBuilder<ObjectName, Service>();
        var slices = ImmutableDictionary.CreateBuilder<ObjectName, EndpointSlice>();
        var endpoints = ImmutableDictionary.CreateBuilder<ObjectName, Endpoints>();
        FactsLine? head = null;
        while (await lines.ReadAsync(cancellationToken) == LineKind.Line)
        {
            var line = Parse(lines.Line.Span);
            if (head is null)
            {
                head = Head(line, source);
            }
            else if (line.Sha256 is { } expected)
            {
                if (expected != Convert.ToHexString(hash.GetHashAndReset()))
                {
                    throw new FactsFileException("its checksum does not fit");
                }

                return new(head.Source!, new()
                {
                    Services = services.ToImmutable(),
                    EndpointSlices = slices.ToImmutable(),
                    Endpoints = endpoints.ToImmutable(),
                    NodeLabels = head.NodeLabels?.ToImmutableDictionary(StringComparer.Ordinal) ?? ImmutableDictionary<string, string>.Empty,
                    Cloud = (head.Cloud ?? []).Where(c => c?.Kind is not null).DistinctBy(c => c.Kind, StringComparer.Ordinal).ToImmutableDictionary(c => c.Kind!, c => c.Word(), StringComparer.Ordinal),
                    Origin = FactsOrigin.Cache,
                    AsOf = head.AsOf ?? default,
                });
            }
            else if (line.Service is { } service)
            {
                services[service.Key] = service;
            }
            else if (line.Slice is { } slice)
            {
                slices[slice.Key] = slice;
            }
            else if (line.Endpoints is { } other)
            {
                endpoints[other.Key] = other;
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
            // Nearly every line is one of these two.
            if (line.StartsWith("{\"service\":"u8) && ObjectScan.Read<Service>(line["{\"service\":"u8.Length..^1]) is { } service)
                return new FactsLine { Service = service };
            if (line.StartsWith("{\"slice\":"u8) && ObjectScan.Read<EndpointSlice>(line["{\"slice\":"u8.Length..^1]) is { } slice)
                return new FactsLine { Slice = slice };
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
internal sealed record CachedFacts(ClusterIdentity Source, ClusterFacts Facts);

internal sealed class FactsLine
{
    public string? Format { get; set; }

    public int? Version { get; set; }

    public ClusterIdentity? Source { get; set; }

    public DateTimeOffset? AsOf { get; set; }

    public Dictionary<string, string>? NodeLabels { get; set; }

    public CloudLine[]? Cloud { get; set; }

    public Service? Service { get; set; }

    public EndpointSlice? Slice { get; set; }

    public Endpoints? Endpoints { get; set; }

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
    GenerationMode = JsonSourceGenerationMode.Metadata,
    Converters =
    [
        typeof(NullableArray<string>),
        typeof(NullableArray<ServicePort>),
        typeof(NullableArray<EndpointPort>),
        typeof(NullableArray<Endpoint>),
        typeof(NullableArray<HintName>),
        typeof(NullableArray<EndpointSubset>),
        typeof(NullableArray<SubsetAddress>),
    ])]
[JsonSerializable(typeof(FactsLine))]
internal sealed partial class FactsJson : JsonSerializerContext;
