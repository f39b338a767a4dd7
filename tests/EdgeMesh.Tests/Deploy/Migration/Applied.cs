namespace EdgeMesh.Tests.Deploy.Migration;

/// <summary>What the API server makes of an applied object. Lists of which an item has a name are merged item by item, others are
/// replaced; what the one who applies wrote before and writes no longer goes; what others wrote stays.</summary>
/// <remarks>Harder than kubectl and Helm 3, whose patches also clear the other sources of a volume that they name.</remarks>
internal static class Applied
{
    /// <summary>By what items of a list are told apart (x-kubernetes-list-map-keys).</summary>
    private static readonly Dictionary<string, string> ItemKeys = new(StringComparer.Ordinal)
    {
        ["containers"] = "name",
        ["env"] = "name",
        ["volumeMounts"] = "mountPath",
        ["volumes"] = "name",
    };

    /// <param name="last">What the same one applied before; null: nothing, or it is not known.</param>
    public static Dictionary<string, object?> Over(Dictionary<string, object?> live, Dictionary<string, object?>? last, Dictionary<string, object?> next)
    {
        var cleared = last is null ? live : (Dictionary<string, object?>?)Without(live, last, next, "") ?? [];
        return (Dictionary<string, object?>)Joined(cleared, next, "")!;
    }

    private static object? Joined(object? live, object? next, string field)
    {
        if (next is Dictionary<string, object?> map)
        {
            var result = new Dictionary<string, object?>(live as Dictionary<string, object?> ?? [], StringComparer.Ordinal);
            foreach (var (key, value) in map)
                result[key] = Joined(result.GetValueOrDefault(key), value, key);
            return result;
        }

        if (next is List<object?> items && live is List<object?> there && ItemKeys.TryGetValue(field, out var by))
        {
            var result = there.ToList();
            foreach (var item in items)
            {
                var at = result.FindIndex(i => Equals(i.At(by), item.At(by)));
                if (at < 0)
                    result.Add(item);
                else
                    result[at] = Joined(result[at], item, "");
            }

            return result;
        }

        return next;
    }

    /// <returns>Null where nothing is left.</returns>
    private static object? Without(object? live, object? last, object? next, string field)
    {
        switch (live, last)
        {
            case (Dictionary<string, object?> there, Dictionary<string, object?> before):
                var map = new Dictionary<string, object?>(StringComparer.Ordinal);
                foreach (var (key, value) in there)
                {
                    var left = before.TryGetValue(key, out var old) ? Without(value, old, next.At(key), key) : value;
                    if (left is not null || value is null)
                        map[key] = left;
                }

                return map.Count > 0 ? map : null;
            case (List<object?> there, List<object?> before) when ItemKeys.TryGetValue(field, out var by):
                var items = there.Select(item => before.Find(b => Same(b, item)) is not { } was ? item
                    // An item that is gone goes as a whole, with what the API server had filled in.
                    : ((List<object?>?)next)?.Find(n => Same(n, item)) is { } still ? Without(item, was, still, "") : null).Where(item => item is not null).ToList();
                return items.Count > 0 ? items : null;

                bool Same(object? one, object? other) => Equals(one.At(by), other.At(by));
            default:
                return next is null ? null : live;
        }
    }
}
