using System.Runtime.CompilerServices;
using System.Text.Json;
using System.Text.Json.Nodes;

namespace EdgeMesh.Testing.ApiServer;

/// <summary>One change, as a watch tells it.</summary>
public sealed record StoredEvent(long Version, string Type, string Plural, JsonObject Object);

/// <summary>Objects by kind, one counter of versions over all, and a history as long as <see cref="HistoryLength"/>.</summary>
public sealed class ApiStore
{
    private readonly Lock _gate = new();
    private readonly Dictionary<(string Plural, string Namespace, string Name), JsonObject> _objects = [];
    private readonly List<StoredEvent> _history = [];

    // The pages of a long list are cut from one and the same order, and objects of many lists are written out once.
    private readonly Dictionary<(string Plural, string Selectors), (long Version, List<JsonObject> Objects)> _lists = [];
    private readonly ConditionalWeakTable<JsonObject, byte[]> _json = [];
    private TaskCompletionSource _changed = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private long _version = 1000;
    private long _forgotten = 1000;

    public int HistoryLength { get; set; } = 10_000;

    public long Version
    {
        get
        {
            lock (_gate)
            {
                return _version;
            }
        }
    }

    /// <summary>Completes with the next change.</summary>
    public Task Changed
    {
        get
        {
            lock (_gate)
            {
                return _changed.Task;
            }
        }
    }

    /// <summary>Creates or replaces. Sets uid and resourceVersion, and the namespace to default where none is given.</summary>
    public void Put(string plural, JsonObject value)
    {
        lock (_gate)
        {
            var copy = (JsonObject)value.DeepClone();
            var metadata = copy["metadata"]!.AsObject();
            if (plural != "nodes")
            {
                metadata["namespace"] ??= "default";
            }

            var key = (plural, (string?)metadata["namespace"] ?? "", (string)metadata["name"]!);
            var known = _objects.GetValueOrDefault(key);
            metadata["uid"] ??= (string?)known?["metadata"]!["uid"] ?? Guid.NewGuid().ToString();
            metadata["resourceVersion"] = $"{_version + 1}";
            _objects[key] = copy;
            // Now, and not while somebody who measures waits for a list.
            Json(copy);
            Remember(new(_version + 1, known is null ? "ADDED" : "MODIFIED", plural, copy));
        }
    }

    /// <returns>False when there was none.</returns>
    public bool Delete(string plural, string space, string name)
    {
        lock (_gate)
        {
            if (!_objects.Remove((plural, space, name), out var known))
            {
                return false;
            }

            var last = (JsonObject)known.DeepClone();
            last["metadata"]!["resourceVersion"] = $"{_version + 1}";
            Remember(new(_version + 1, "DELETED", plural, last));
            return true;
        }
    }

    /// <param name="selectors">Stands for <paramref name="matches"/>: the same text, the same answer.</param>
    public (long Version, List<JsonObject> Objects) List(string plural, string selectors, Func<JsonObject, bool> matches)
    {
        lock (_gate)
        {
            if (!_lists.TryGetValue((plural, selectors), out var list) || list.Version != _version)
            {
                list = (_version, [.. _objects.Where(o => o.Key.Plural == plural && matches(o.Value))
                    .OrderBy(o => o.Key.Namespace, StringComparer.Ordinal).ThenBy(o => o.Key.Name, StringComparer.Ordinal).Select(o => o.Value)]);
                _lists[(plural, selectors)] = list;
            }

            return (_version, list.Objects);
        }
    }

    /// <summary>An object of this store as JSON.</summary>
    public byte[] Json(JsonObject stored) => _json.GetValue(stored, value => JsonSerializer.SerializeToUtf8Bytes<JsonNode>(value));

    /// <returns>Null when <paramref name="after"/> is older than the history: 410.</returns>
    public List<StoredEvent>? Since(string plural, long after)
    {
        lock (_gate)
        {
            return after < _forgotten ? null : [.. _history.Where(e => e.Version > after && e.Plural == plural)];
        }
    }

    /// <summary>As etcd's compaction: watches from before now get 410.</summary>
    public void ForgetHistory()
    {
        lock (_gate)
        {
            _history.Clear();
            _forgotten = ++_version;
        }
    }

    private void Remember(StoredEvent change)
    {
        _version = change.Version;
        _history.Add(change);
        if (_history.Count > HistoryLength)
        {
            _forgotten = _history[0].Version;
            _history.RemoveAt(0);
        }

        var changed = _changed;
        _changed = new(TaskCreationOptions.RunContinuationsAsynchronously);
        changed.SetResult();
    }
}
