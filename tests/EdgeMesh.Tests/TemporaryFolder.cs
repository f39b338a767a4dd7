namespace EdgeMesh.Tests;

/// <summary>A folder on the disk that goes with the test.</summary>
internal sealed class TemporaryFolder : IDisposable
{
    public string Path { get; } = Directory.CreateTempSubdirectory("edgemesh-test-").FullName;

    /// <summary>In one step: whoever looks meanwhile sees the old text or the new one, and never a half.</summary>
    public string Write(string name, string text)
    {
        var path = System.IO.Path.Combine(Path, name);
        File.WriteAllText(path + ".new", text);
        File.Move(path + ".new", path, overwrite: true);
        return path;
    }

    public void Dispose() => Directory.Delete(Path, recursive: true);
}
