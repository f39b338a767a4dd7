using System.Collections.Immutable;
using System.Runtime.InteropServices;
using System.Security.Cryptography;
using System.Text;
using EdgeMesh.Kubernetes.Api;

namespace EdgeMesh.Kubernetes.Manifests;

/// <summary>The files of a folder as last read. A scan reads again what changed and keeps the last good version of what
/// cannot be read any more.</summary>
internal sealed class ManifestFolder(string path, TimeProvider time, IEnumerable<Kind>? kinds = null)
{
    private const int LargestFile = 32 << 20;

    /// <summary>All files together: many times what 10,000 services take.</summary>
    private const long LargestFolder = 128 << 20;

    private const int MostFiles = 10_000;

    // A file system's clock ticks in milliseconds: a file changed this short ago may change again without a new time.
    private static readonly TimeSpan Settled = TimeSpan.FromSeconds(2);

    // A file that is written in place is empty, then half, for a moment.
    private static readonly TimeSpan BeingWritten = TimeSpan.FromMilliseconds(100);

    private readonly Dictionary<string, Entry> _files = new(StringComparer.Ordinal);

    public ImmutableArray<ManifestFault> Faults { get; private set; } = [];

    /// <summary>How soon a scan is wanted because a file seems to be in the middle of being written; null: it is not.</summary>
    public TimeSpan? ScanAgain { get; private set; }

    public ImmutableArray<string> IgnoredKinds => [.. _files.Values.SelectMany(f => f.Current.IgnoredKinds).Distinct(StringComparer.Ordinal).Order(StringComparer.Ordinal)];

    /// <summary>In the order of the file names, each object once.</summary>
    public ImmutableArray<ManifestObject> Objects { get; private set; } = [];

    /// <param name="changed">File names that are known to have changed, whatever their time says.</param>
    /// <returns>The number of files that were read or are gone.</returns>
    /// <exception cref="IOException">The folder itself cannot be read; everything stays as it was.</exception>
    public int Scan(IReadOnlySet<string> changed)
    {
        var names = Directory.EnumerateFiles(path)
            .Select(f => Path.GetFileName(f)!)
            .Where(n => n[0] != '.' && Path.GetExtension(n) is ".yaml" or ".yml" or ".json")
            .Order(StringComparer.Ordinal)
            .Take(MostFiles + 1)
            .ToList();
        var count = 0;
        ScanAgain = null;
        foreach (var gone in _files.Keys.Except(names, StringComparer.Ordinal).ToList())
        {
            _files.Remove(gone);
            count++;
        }

        var room = LargestFolder;
        foreach (var name in names.Take(MostFiles))
        {
            var known = _files.GetValueOrDefault(name);
            var stamp = Stamp.Of(Path.Combine(path, name));
            room -= Math.Min(stamp.Length, LargestFile);
            if (known is null || known.Stamp != stamp || !known.Settled || known.LeftOut != room < 0 || changed.Contains(name))
            {
                count += Read(name, stamp, known, leftOut: room < 0);
            }
        }

        if (count > 0 || names.Count > MostFiles)
        {
            Merge(names.Count > MostFiles);
        }

        return count;
    }

    private int Read(string name, Stamp stamp, Entry? known, bool leftOut)
    {
        var file = Path.Combine(path, name);
        // A file may be of the future: of a time when the clock was wrong, or now that it is.
        var settled = (time.GetUtcNow() - stamp.Written).Duration() > Settled;
        string text;
        try
        {
            text = leftOut ? throw new IOException($"this folder holds more than {LargestFolder >> 20} MB, and this file is beyond them") : ReadText(file);
        }
        catch (FileNotFoundException)
        {
            // Gone between the listing and now, or a link whose target is being swapped: the next scan knows.
            return 0;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            var fault = new ManifestFault(file, 1, $"cannot be read: {e.Message}", null);
            _files[name] = new(stamp, settled, null, new(file, [], [fault], []), known?.InForce ?? []) { LeftOut = leftOut };
            return 1;
        }

        var hash = SHA256.HashData(MemoryMarshal.AsBytes(text.AsSpan()));
        if (known?.Hash is { } before && hash.AsSpan().SequenceEqual(before))
        {
            _files[name] = known with { Stamp = stamp, Settled = settled, LeftOut = false };
            return 0;
        }

        var parsed = ManifestFile.Parse(file, text, known is null ? null : known.Current with { Objects = known.InForce }, kinds);
        var inForce = InForce(parsed, known);
        // Whoever writes a file in place begins with an empty one, and may take longer to go on.
        var beingWritten = text.Length == 0 ? Settled : BeingWritten;
        if (known is not null && known.Stamp.Target == stamp.Target && (time.GetUtcNow() - stamp.Written).Duration() < beingWritten
            && known.InForce.Select(o => (o.Kind, o.Value.Key)).Except(inForce.Select(o => (o.Kind, o.Value.Key))).Any())
        {
            // Objects that are missing from a file this fresh may only not have been written yet.
            _files[name] = known with { Settled = false };
            ScanAgain = BeingWritten;
            return 0;
        }

        _files[name] = new(stamp, settled, hash, parsed, inForce);
        return 1;
    }

    /// <summary>A document that cannot even be named may be any of the objects that are missing now.</summary>
    private static ImmutableArray<ManifestObject> InForce(ManifestFile parsed, Entry? known)
    {
        if (known is null || parsed.Faults.IsEmpty)
        {
            return parsed.Objects;
        }

        var present = parsed.Objects.Select(o => (o.Kind, o.Value.Key)).ToHashSet();
        var nameless = parsed.Faults.Any(f => f.Object is not { Name.Name.Length: > 0 });
        var named = parsed.Faults.Select(f => f.Object).OfType<(string, ObjectName)>().ToHashSet();
        return
        [
            .. parsed.Objects,
            .. known.InForce.Where(o => !present.Contains((o.Kind, o.Value.Key)) && (nameless || named.Contains((o.Kind, o.Value.Key)))),
        ];
    }

    private static string ReadText(string file)
    {
        using var stream = SmallFile.Open(file);
        // Its length spares the reading, and may be another a moment later.
        var bytes = stream is null ? [] : stream.Length > LargestFile ? null : SmallFile.Read(stream, LargestFile);
        if (bytes is null || bytes.Length > LargestFile)
        {
            throw new IOException($"it is larger than {LargestFile >> 20} MB");
        }

        var text = bytes.AsSpan();
        return Encoding.UTF8.GetString(text.StartsWith(Encoding.UTF8.Preamble) ? text[Encoding.UTF8.Preamble.Length..] : text);
    }

    private void Merge(bool tooMany)
    {
        var objects = new Dictionary<(string, ObjectName), ManifestObject>();
        var faults = ImmutableArray.CreateBuilder<ManifestFault>();
        foreach (var (_, entry) in _files.OrderBy(f => f.Key, StringComparer.Ordinal))
        {
            faults.AddRange(entry.Current.Faults);
            foreach (var item in entry.InForce)
            {
                if (!objects.TryAdd((item.Kind, item.Value.Key), item))
                {
                    var first = objects[(item.Kind, item.Value.Key)];
                    faults.Add(new(item.File, item.Line, $"{item.Kind} {item.Value.Key} also stands in {first.File}:{first.Line}, which counts: delete one of the two", (item.Kind, item.Value.Key)));
                }
            }
        }

        if (tooMany)
        {
            faults.Add(new(path, 1, $"holds more than {MostFiles} files; the rest is ignored", null));
        }

        Objects = [.. objects.Values];
        Faults = faults.ToImmutable();
    }

    /// <param name="Hash">Of its text; null when the file could not be read.</param>
    /// <param name="InForce">The good objects of now, and the last good version of the bad ones.</param>
    private sealed record Entry(Stamp Stamp, bool Settled, byte[]? Hash, ManifestFile Current, ImmutableArray<ManifestObject> InForce)
    {
        /// <summary>There was no room for it.</summary>
        public bool LeftOut { get; init; }
    }

    /// <summary>Of the link's final target: a ConfigMap volume swaps the folder that its links lead through.</summary>
    private readonly record struct Stamp(string Target, long Length, DateTimeOffset Written)
    {
        public static Stamp Of(string file)
        {
            try
            {
                var target = File.ResolveLinkTarget(file, returnFinalTarget: true) as FileInfo ?? new FileInfo(file);
                return new(target.FullName, target.Length, new DateTimeOffset(target.LastWriteTimeUtc));
            }
            catch (Exception e) when (e is IOException or UnauthorizedAccessException)
            {
                return default;
            }
        }
    }
}
