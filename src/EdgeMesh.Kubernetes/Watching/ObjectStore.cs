using System.Collections.Immutable;
using EdgeMesh.Kubernetes.Api;

namespace EdgeMesh.Kubernetes.Watching;

/// <summary>The objects of one kind as last heard, and the ones that could not be read, by name.</summary>
internal sealed partial class ObjectStore<T>(Kind<T> kind, Selection selection)
    where T : KubernetesObject
{
    /// <summary>More than any cluster has (Kubernetes is built for 10,000 services): beyond it somebody is flooding us.</summary>
    private const int MostObjects = 200_000;

    private const int MostFaults = 100;

    private readonly Kind<T> _kind = kind;
    private readonly Selection _selection = selection;
    private readonly Lock _gate = new();
    private ImmutableDictionary<ObjectName, T> _objects = ImmutableDictionary<ObjectName, T>.Empty;
    private ImmutableDictionary<ObjectName, string> _faults = ImmutableDictionary<ObjectName, string>.Empty;
    private HashSet<ObjectName>? _touched;

    public ImmutableDictionary<ObjectName, T> Objects => Volatile.Read(ref _objects);

    /// <summary>Names the first object that could not be read and counts the others; null when all could.</summary>
    public string? Fault
    {
        get
        {
            var faults = Volatile.Read(ref _faults);
            if (faults.IsEmpty)
            {
                return null;
            }

            var (name, message) = faults.MinBy(f => f.Key.ToString(), StringComparer.Ordinal);
            return $"{_kind.Name} {name} {message}{(faults.Count > 1 ? $" (and {faults.Count - 1} more objects could not be read)" : "")}: its last good version, if any, stays in force";
        }
    }

    public Listing BeginList()
    {
        lock (_gate)
        {
            _touched = [];
            return new(this);
        }
    }

    /// <returns>What could not be used, or null.</returns>
    public ObjectFault? Upsert(ReadOnlySpan<byte> json)
    {
        var (value, fault) = _kind.Read(json);
        lock (_gate)
        {
            if (fault is not null)
            {
                _touched?.Add(fault.Name);
                Remember(fault);
                return fault;
            }

            var key = value!.Key;
            if (_selection.AtMetaServer && !MayTake(value))
            {
                return null;
            }

            _touched?.Add(key);
            _faults = _faults.Remove(key);
            if (!_selection.Wants(value))
            {
                _objects = _objects.Remove(key);
            }
            else if (!Same(_objects.GetValueOrDefault(key), value))
            {
                if (_objects.Count >= MostObjects)
                {
                    throw TooMany();
                }

                _objects = _objects.SetItem(key, value);
            }

            return null;
        }
    }

    public void Remove(ObjectName name)
    {
        lock (_gate)
        {
            _touched?.Add(name);
            _faults = _faults.Remove(name);
            _objects = _objects.Remove(name);
        }
    }

    public void MarkUnreadable(ObjectFault fault)
    {
        lock (_gate)
        {
            Remember(fault);
        }
    }

    private static bool Same(T? known, T value) =>
        known?.Metadata.ResourceVersion is { Length: > 0 } version && version == value.Metadata.ResourceVersion && known.Metadata.Uid == value.Metadata.Uid;

    private ApiFaultException TooMany() => new($"more than {MostObjects} {_kind.Plural}: the agent keeps the last good state");

    private void Remember(ObjectFault fault)
    {
        if (_faults.Count < MostFaults)
        {
            _faults = _faults.SetItem(fault.Name, fault.Message);
        }
    }

    /// <summary>A list on its way. Nothing of it is seen until it is whole.</summary>
    public sealed partial class Listing(ObjectStore<T> store)
    {
        private readonly ImmutableDictionary<ObjectName, T> _known = store.Objects;
        private readonly ImmutableDictionary<ObjectName, T>.Builder _fresh = ImmutableDictionary.CreateBuilder<ObjectName, T>();
        private readonly Dictionary<ObjectName, ObjectFault> _unreadable = [];
        private readonly HashSet<ObjectName> _unreadNames = [];

        public int Count => _fresh.Count + _unreadable.Count;

        public IEnumerable<ObjectFault> Unreadable => _unreadable.Values;

        public void Add(ReadOnlySpan<byte> json, bool whole)
        {
            Seen++;
            if (!whole)
            {
                var (name, version, _) = ObjectReader.Identify(json);
                Keep(new(name, version, $"is larger than {ObjectReader.LargestObject >> 20} MB", null));
                return;
            }

            var (value, fault) = store._kind.Read(json);
            if (fault is not null)
            {
                Keep(fault);
            }
            else if (store._selection.LooksCorrupted(value!))
            {
                Keep(new(value!.Key, null, "was listed by the metaServer with the single endpoint 127.0.0.1; set the agent to use endpoints instead of endpointslices", null));
            }
            else if (store._selection.Wants(value!))
            {
                if (_fresh.Count >= MostObjects)
                {
                    throw store.TooMany();
                }

                var key = value!.Key;
                _fresh[key] = _known.TryGetValue(key, out var known) && Same(known, value) ? known : value;
            }
        }

        /// <summary>Makes the list the truth, except for objects that a watch spoke of meanwhile: the list may be older.</summary>
        public void Apply()
        {
            lock (store._gate)
            {
                foreach (var name in store._touched ?? [])
                {
                    _fresh.Remove(name);
                    if (store._objects.TryGetValue(name, out var newer))
                    {
                        _fresh[name] = newer;
                    }
                }

                store._touched = null;
                store._faults = _unreadable.Take(MostFaults).ToImmutableDictionary(f => f.Key, f => f.Value.Message);
                if (_fresh.Count != store._objects.Count || _fresh.Any(f => !ReferenceEquals(f.Value, store._objects.GetValueOrDefault(f.Key))))
                {
                    store._objects = _fresh.ToImmutable();
                }
            }
        }

        private void Keep(ObjectFault fault)
        {
            if (_unreadNames.Count < MostObjects)
            {
                _unreadNames.Add(fault.Name);
            }

            if (_unreadable.Count < MostFaults)
            {
                _unreadable[fault.Name] = fault;
            }

            if (_known.TryGetValue(fault.Name, out var known))
            {
                _fresh[fault.Name] = known;
            }
        }
    }
}
