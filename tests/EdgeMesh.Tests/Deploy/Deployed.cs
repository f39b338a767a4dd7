using System.Globalization;

namespace EdgeMesh.Tests.Deploy;

/// <summary>Objects of a cluster as plain maps and lists, and ways into them.</summary>
internal static class Deployed
{
    public static Dictionary<string, object?> Only(this IEnumerable<Dictionary<string, object?>> objects, string kind, string? name = null) =>
        objects.Single(o => o.Text("kind") == kind && (name is null || o.Text("metadata", "name") == name));

    public static object? At(this object? value, params string[] path) =>
        path.Aggregate(value, (current, key) => ((Dictionary<string, object?>?)current)?.GetValueOrDefault(key));

    public static string Text(this object? value, params string[] path) =>
        value.At(path) switch
        {
            bool flag => flag ? "true" : "false",
            { } scalar => Convert.ToString(scalar, CultureInfo.InvariantCulture)!,
            null => throw new KeyNotFoundException(string.Join('.', path)),
        };

    public static Dictionary<string, object?>[] Items(this object? value, params string[] path) =>
        [.. ((List<object?>?)value.At(path) ?? []).Cast<Dictionary<string, object?>>()];

    public static string[] Texts(this object? value, params string[] path) =>
        [.. ((List<object?>)value.At(path)!).Select(item => item.Text())];

    public static Dictionary<string, object?> Pod(this IEnumerable<Dictionary<string, object?>> objects) =>
        (Dictionary<string, object?>)objects.Only("DaemonSet").At("spec", "template", "spec")!;

    /// <summary>The volume that is mounted at a folder, with its source.</summary>
    public static Dictionary<string, object?> VolumeAt(this Dictionary<string, object?> pod, string folder)
    {
        var name = pod.Items("containers").Single().Items("volumeMounts").Single(m => m.Text("mountPath") == folder).Text("name");
        return pod.Items("volumes").Single(v => v.Text("name") == name);
    }
}
