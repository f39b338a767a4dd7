using System.Collections.Immutable;
using System.Numerics;
using EdgeMesh.Kubernetes.Api;

namespace EdgeMesh.Kubernetes.Watching;

/// <summary>What a list of a metaServer is.</summary>
internal enum ListTrust
{
    /// <summary>The cloud's answer: what it does not name does not exist.</summary>
    Cloud,

    /// <summary>From the local database: it may add what is newer, and takes nothing away.</summary>
    Local,

    /// <summary>Without the marks of a local one, and yet not believable: hardly any objects.</summary>
    Few,

    /// <summary>Likewise: its resourceVersion is lower than one of the cloud before, or no number.</summary>
    Back,
}

/// <summary>At a metaServer the cloud's last list stands over everything that comes after it with a lower version.</summary>
internal sealed partial class ObjectStore<T>
{
    private const int FewFrom = 10;

    /// <summary>A list of the cloud, which follows each deletion within seconds, takes the place of these.</summary>
    private const int MostDeletions = 10_000;

    private readonly HashSet<ObjectName> _unread = [];
    private ImmutableDictionary<ObjectName, string> _deleted = ImmutableDictionary<ObjectName, string>.Empty;
    private BigInteger? _cloud;

    /// <summary>What was the cloud's word when the agent last ran.</summary>
    public void Seed(ImmutableDictionary<ObjectName, T> objects, CloudWord? word)
    {
        lock (_gate)
        {
            _objects = objects;
            _cloud = Versions.Number(word?.Version);
            _deleted = word?.Deleted ?? _deleted;
        }
    }

    public CloudWord Word
    {
        get
        {
            lock (_gate)
            {
                return new(_cloud?.ToString(System.Globalization.CultureInfo.InvariantCulture), _deleted);
            }
        }
    }

    public ListTrust Judge(ListMeta? metadata, int count)
    {
        lock (_gate)
        {
            if (metadata is null || string.IsNullOrEmpty(metadata.ResourceVersion) || !string.IsNullOrEmpty(metadata.SelfLink))
            {
                return ListTrust.Local;
            }

            if (Versions.Number(metadata.ResourceVersion) is not { } version || version < _cloud)
            {
                return ListTrust.Back;
            }

            return count == 0 || (_objects.Count >= FewFrom && count * 2 < _objects.Count) ? ListTrust.Few : ListTrust.Cloud;
        }
    }

    /// <summary>ADDED or MODIFIED of a watch whose replays may be older than anything that is known.</summary>
    /// <returns>False where it was older, or could not be compared.</returns>
    private bool MayTake(T value)
    {
        var name = value.Key;
        var version = value.Metadata.ResourceVersion;
        if (Versions.Number(version) is not { } number)
        {
            // Where not even the cloud's lists have numbers there is nothing to protect.
            return _cloud is null && !_objects.ContainsKey(name) && !_deleted.ContainsKey(name);
        }

        if (_deleted.TryGetValue(name, out var deleted) && !Versions.IsNewer(version, deleted))
        {
            return false;
        }

        if (_objects.TryGetValue(name, out var known))
        {
            return !(number <= Versions.Number(known.Metadata.ResourceVersion)) && (_cloud is null || number > _cloud || _unread.Contains(name));
        }

        return _cloud is null || number > _cloud || _unread.Contains(name);
    }

    /// <summary>A deletion that came by a watch. The cloud's own has a version of its own, higher than all before it; a
    /// local one repeats an old state, and whether it is true is for the next list to say.</summary>
    /// <returns>False where it is not believed.</returns>
    public bool RemoveByWatch(ObjectName name, string? version)
    {
        lock (_gate)
        {
            var known = _objects.GetValueOrDefault(name);
            if (Versions.Number(version) is not { } number || number <= _cloud || number < Versions.Number(known?.Metadata.ResourceVersion)
                || (_cloud is null && known is not null))
            {
                return false;
            }

            _faults = _faults.Remove(name);
            _objects = _objects.Remove(name);
            if (_deleted.Count < MostDeletions && !Versions.IsNewer(_deleted.GetValueOrDefault(name), version))
            {
                _deleted = _deleted.SetItem(name, version!);
            }

            return true;
        }
    }

    public sealed partial class Listing
    {
        /// <summary>Everything that was listed, wanted or not: proof that this kind may be listed.</summary>
        public int Seen { get; private set; }

        /// <summary>Makes a list of the cloud the truth, but for what a watch has told with a higher version.</summary>
        /// <param name="authoritative">The cloud's versions started anew: nothing from before counts.</param>
        /// <returns>True where it differs from what was known.</returns>
        public bool ApplyCloud(string? listed, bool authoritative)
        {
            lock (store._gate)
            {
                var number = Versions.Number(listed);
                authoritative |= store._cloud is null || number is null;
                foreach (var (name, value) in store._objects)
                {
                    if (_unreadNames.Contains(name))
                    {
                        _fresh.TryAdd(name, value);
                        continue;
                    }

                    var newer = Versions.Number(value.Metadata.ResourceVersion) > number && (!authoritative || store._touched?.Contains(name) == true);
                    if (newer && !Versions.IsNewer(_fresh.GetValueOrDefault(name)?.Metadata.ResourceVersion, value.Metadata.ResourceVersion))
                    {
                        _fresh[name] = value;
                    }
                }

                store._deleted = authoritative ? store._deleted.Clear() : store._deleted.RemoveRange(store._deleted.Where(d => !(Versions.Number(d.Value) > number)).Select(d => d.Key));
                foreach (var (name, version) in store._deleted)
                {
                    if (_fresh.TryGetValue(name, out var listedStill) && !Versions.IsNewer(listedStill.Metadata.ResourceVersion, version))
                    {
                        _fresh.Remove(name);
                    }
                }

                store._cloud = number;
                store._touched = null;
                store._unread.Clear();
                store._unread.UnionWith(_unreadNames);
                store._faults = _unreadable.Take(MostFaults).ToImmutableDictionary(f => f.Key, f => f.Value.Message);
                var differs = _fresh.Count != store._objects.Count || _fresh.Any(f => !ReferenceEquals(f.Value, store._objects.GetValueOrDefault(f.Key)));
                if (differs)
                {
                    store._objects = _fresh.ToImmutable();
                }

                return differs;
            }
        }

        /// <summary>Takes what is newer from a list of the local database, and nothing away.</summary>
        public void ApplyLocal()
        {
            lock (store._gate)
            {
                store._touched = null;
                var objects = store._objects.ToBuilder();
                foreach (var (name, value) in _fresh)
                {
                    if (!ReferenceEquals(value, store._objects.GetValueOrDefault(name)) && store.MayTake(value))
                    {
                        objects[name] = value;
                    }
                }

                store._objects = objects.ToImmutable();
            }
        }
    }
}
