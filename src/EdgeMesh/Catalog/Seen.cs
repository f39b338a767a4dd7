using System.Collections.Immutable;
using System.Runtime.InteropServices;
using EdgeMesh.Kubernetes.Api;

namespace EdgeMesh.Catalog;

/// <summary>Remembers the objects of one kind, to tell which ones a newer view replaces.</summary>
internal sealed class Seen<T>
    where T : KubernetesObject
{
    private readonly Dictionary<ObjectName, (T Object, int Round)> _objects = [];
    private ImmutableDictionary<ObjectName, T>? _view;
    private int _round;

    /// <param name="onChange">Gets the object before (null: new) and now (null: gone), for each that is not the same reference.</param>
    public void Take(ImmutableDictionary<ObjectName, T> view, Action<T?, T?> onChange)
    {
        if (ReferenceEquals(view, _view))
            return;
        _view = view;
        _round++;
        _objects.EnsureCapacity(view.Count);
        foreach (var (name, now) in view)
        {
            ref var known = ref CollectionsMarshal.GetValueRefOrAddDefault(_objects, name, out var exists);
            var before = exists ? known.Object : null;
            known = (now, _round);
            if (!ReferenceEquals(before, now))
                onChange(before, now);
        }

        if (_objects.Count == view.Count)
            return;
        foreach (var (name, (gone, round)) in _objects)
        {
            if (round == _round)
                continue;
            _objects.Remove(name);
            onChange(gone, null);
        }
    }
}
