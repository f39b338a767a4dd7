using System.Collections.Immutable;
using System.Runtime.InteropServices;
using EdgeMesh.Kubernetes.Api;

namespace EdgeMesh.Catalog;

/// <summary>Remembers the objects of one kind, to tell which ones a newer view replaces.</summary>
internal sealed class Seen<T>
    where T : KubernetesObject
{
    private readonly Dictionary<ObjectName, (T Object, int Round)> _objects = [];
    private readonly List<T> _order = [];
    private ImmutableDictionary<ObjectName, T>? _view;
    private int _round;

    /// <param name="onChange">Gets the object before (null: new) and now (null: gone), for each that is not the same reference.</param>
    public void Take(ImmutableDictionary<ObjectName, T> view, Action<T?, T?> onChange)
    {
        if (ReferenceEquals(view, _view))
            return;
        _view = view;
        if (!TakeInStep(view, onChange))
            TakeByName(view, onChange);
    }

    /// <summary>Views with the same names are nearly always walked in the same order; then no name needs to be looked up.</summary>
    private bool TakeInStep(ImmutableDictionary<ObjectName, T> view, Action<T?, T?> onChange)
    {
        if (view.Count != _order.Count)
            return false;
        var place = 0;
        foreach (var (name, now) in view)
        {
            var before = _order[place];
            if (!ReferenceEquals(before, now))
            {
                if (before.Key != name)
                    return false;
                _order[place] = now;
                _objects[name] = (now, _round);
                onChange(before, now);
            }

            place++;
        }

        return true;
    }

    private void TakeByName(ImmutableDictionary<ObjectName, T> view, Action<T?, T?> onChange)
    {
        _round++;
        _objects.EnsureCapacity(view.Count);
        _order.Clear();
        foreach (var (name, now) in view)
        {
            _order.Add(now);
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
