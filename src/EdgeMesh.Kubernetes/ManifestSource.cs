using System.Collections.Immutable;
using System.Threading.Channels;
using EdgeMesh.Kubernetes.Api;
using EdgeMesh.Kubernetes.Manifests;
using Microsoft.Extensions.Logging;

namespace EdgeMesh.Kubernetes;

/// <summary>Facts from a folder of YAML and JSON files: objects of every kind of <see cref="Kinds"/>, several documents and
/// Lists per file. Watched by inotify, and scanned every few seconds because inotify sees nothing through some bind
/// mounts and not all of a ConfigMap's swap.</summary>
public sealed partial class ManifestSource : IClusterSource
{
    private const int MostKnownFaults = 1000;

    private readonly string _path;
    private readonly string _nodeName;
    private readonly TimeSpan _rescan;
    private readonly TimeProvider _time;
    private readonly ILogger _logger;
    private readonly FactsFeed _feed = new();
    private readonly ImmutableArray<Kind> _kinds;
    private readonly ManifestFolder _folder;
    private readonly Channel<string> _changes = Channel.CreateBounded<string>(new BoundedChannelOptions(1024) { FullMode = BoundedChannelFullMode.DropOldest });
    private readonly HashSet<string> _knownFaults = new(StringComparer.Ordinal);
    private KindHealth _health = new() { Kind = "files", Synced = false };
    private string _ignored = "";

    /// <param name="nodeName">Whose Node object gives the node labels; may be empty.</param>
    public ManifestSource(string path, string nodeName, ILogger<ManifestSource> logger, TimeProvider? time = null)
        : this(path, nodeName, TimeSpan.FromSeconds(5), time ?? TimeProvider.System, logger)
    {
    }

    internal ManifestSource(string path, string nodeName, TimeSpan rescan, TimeProvider time, ILogger logger, IEnumerable<Kind>? kinds = null)
    {
        _path = Path.GetFullPath(path);
        _nodeName = nodeName;
        _rescan = rescan;
        _time = time;
        _logger = logger;
        _kinds = [.. kinds ?? Kinds.All];
        _folder = new(_path, time, _kinds);
    }

    public string Description => $"manifests {_path}";

    public ClusterFacts? Current => _feed.Current;

    public SourceHealth Health => new() { Kinds = [Volatile.Read(ref _health)] };

    public Task<ClusterFacts> NextAsync(ClusterFacts? seen, CancellationToken cancellationToken) => _feed.NextAsync(seen, cancellationToken);

    public async Task RunAsync(CancellationToken cancellationToken)
    {
        LogStart(_logger, _path);
        FileSystemWatcher? watcher = null;
        try
        {
            while (!cancellationToken.IsCancellationRequested)
            {
                // The watcher first: a change between the scan and the watch would wait for the next scan.
                watcher = Watch(watcher);
                var changed = new HashSet<string>(StringComparer.Ordinal);
                while (_changes.Reader.TryRead(out var name))
                {
                    changed.Add(name);
                }

                Scan(changed);
                await WaitAsync(cancellationToken);
            }
        }
        finally
        {
            watcher?.Dispose();
        }
    }

    private async Task WaitAsync(CancellationToken cancellationToken)
    {
        using var rescan = new CancellationTokenSource(_folder.ScanAgain ?? _rescan, _time);
        using var either = CancellationTokenSource.CreateLinkedTokenSource(rescan.Token, cancellationToken);
        try
        {
            await _changes.Reader.WaitToReadAsync(either.Token);
        }
        catch (OperationCanceledException)
        {
            // Time for a scan, or the end of the run.
        }
    }

    private FileSystemWatcher? Watch(FileSystemWatcher? watcher)
    {
        if (watcher is { EnableRaisingEvents: true } && Directory.Exists(_path))
        {
            return watcher;
        }

        watcher?.Dispose();
        watcher = null;
        try
        {
            watcher = new FileSystemWatcher(_path)
            {
                NotifyFilter = NotifyFilters.FileName | NotifyFilters.DirectoryName | NotifyFilters.LastWrite | NotifyFilters.Size | NotifyFilters.CreationTime,
            };
            watcher.Changed += (_, e) => _changes.Writer.TryWrite(e.Name ?? "");
            watcher.Created += (_, e) => _changes.Writer.TryWrite(e.Name ?? "");
            watcher.Deleted += (_, e) => _changes.Writer.TryWrite(e.Name ?? "");
            watcher.Renamed += (_, e) => _changes.Writer.TryWrite(e.Name ?? "");
            watcher.Error += (sender, _) => ((FileSystemWatcher)sender).EnableRaisingEvents = false;
            watcher.EnableRaisingEvents = true;
            return watcher;
        }
        catch (Exception e) when (e is IOException or ArgumentException or UnauthorizedAccessException)
        {
            // No folder yet, or no inotify instance left: the scan alone then sees changes, a few seconds later.
            watcher?.Dispose();
            LogNoWatch(_logger, _path, e.Message);
            return null;
        }
    }

    private void Scan(HashSet<string> changed)
    {
        int count;
        try
        {
            count = _folder.Scan(changed);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            var fault = e is DirectoryNotFoundException ? $"folder {_path} does not exist: create it" : $"folder {_path} cannot be read: {e.Message}";
            Warn(fault);
            Volatile.Write(ref _health, _health with { Fault = fault, Faults = _health.Faults + 1 });
            return;
        }

        var faults = _folder.Faults;
        if (faults.IsEmpty)
        {
            _knownFaults.Clear();
        }

        foreach (var fault in faults)
        {
            Warn(fault.ToString());
        }

        var ignored = string.Join(", ", _folder.IgnoredKinds);
        if (ignored != _ignored)
        {
            _ignored = ignored;
            LogIgnored(_logger, _path, ignored);
        }

        Volatile.Write(ref _health, _health with
        {
            Synced = true,
            LastSuccess = _time.GetTimestamp(),
            Lists = _health.Lists + 1,
            Events = _health.Events + count,
            Faults = _health.Faults + (count > 0 ? faults.Length : 0),
            Fault = faults.IsEmpty ? null : $"{faults[0]}{(faults.Length > 1 ? $" (and {faults.Length - 1} more)" : "")}",
        });
        if (count > 0 || _feed.Current is null)
        {
            Publish();
        }
    }

    private void Warn(string fault)
    {
        if (_knownFaults.Count < MostKnownFaults && _knownFaults.Add(fault))
        {
            LogFault(_logger, fault);
        }
    }

    private void Publish()
    {
        var old = _feed.Current;
        var node = _folder.Objects.Select(o => o.Value).OfType<Node>().FirstOrDefault(n => n.Metadata.Name == _nodeName);
        var facts = new ClusterFacts
        {
            NodePodRanges = node?.Spec.Ranges ?? [],
            NodeLabels = node?.Metadata.Labels ?? ImmutableDictionary<string, string>.Empty,
            Origin = FactsOrigin.Live,
            AsOf = _time.GetUtcNow(),
            Arrived = _time.GetTimestamp(),
        };
        facts = _kinds.Where(kind => !kind.IsOwnNode).Aggregate(facts, (all, kind) => kind.Put(all, _folder.Objects.Select(o => o.Value), old));
        if (!facts.SaysTheSameAs(old))
        {
            _feed.Publish(facts);
        }
    }
}
