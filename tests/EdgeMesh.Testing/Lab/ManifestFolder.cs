namespace EdgeMesh.Testing.Lab;

/// <summary>A folder of manifests as a person or a program keeps it: files appear, change and go in one step.</summary>
public sealed class ManifestFolder
{
    internal ManifestFolder(string path)
    {
        Path = path;
        Directory.CreateDirectory(path);
    }

    public string Path { get; }

    /// <summary>Writes NAMESPACE-NAME.yaml with the service and its endpoint slices.</summary>
    public void Write(ManifestService service) =>
        WriteText($"{service.Namespace}-{service.Name}.yaml", service.ToYaml());

    public void WriteText(string file, string yaml) => Replace(System.IO.Path.Combine(Path, file), yaml);

    /// <summary>What stands in the service's file now.</summary>
    public string Read(ManifestService service) =>
        File.ReadAllText(System.IO.Path.Combine(Path, $"{service.Namespace}-{service.Name}.yaml"));

    public void Remove(ManifestService service) =>
        File.Delete(System.IO.Path.Combine(Path, $"{service.Namespace}-{service.Name}.yaml"));

    /// <summary>Under a name that no reader of *.yaml takes up, then renamed: a reader sees the old file or the new, never a half.</summary>
    internal static void Replace(string path, string text)
    {
        var folder = System.IO.Path.GetDirectoryName(path)!;
        Directory.CreateDirectory(folder);
        var fresh = System.IO.Path.Combine(folder, $".{System.IO.Path.GetFileName(path)}.{Guid.NewGuid():N}");
        File.WriteAllText(fresh, text);
        File.Move(fresh, path, overwrite: true);
    }
}
