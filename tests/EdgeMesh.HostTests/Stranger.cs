using EdgeMesh.Testing.Lab;
using Xunit;

namespace EdgeMesh.HostTests;

/// <summary>A process of nobody's on the node, that runs a Python program of this project until it is told to end, or the lab ends.</summary>
internal sealed class Stranger : IDisposable
{
    public const string Nobody = "setpriv --reuid 65534 --regid 65534 --clear-groups --inh-caps=-all --bounding-set=-all";

    private readonly string _script;
    private readonly string _stop;

    private Stranger(NamespaceLab lab, string program, string[] arguments)
    {
        // Readable for all, which the folder of the sources need not be.
        _script = Path.Combine(Path.GetTempPath(), $"edgemesh-{Guid.NewGuid():N}.py");
        _stop = _script + ".stop";
        File.Copy(program, _script);
        string[] words = [.. Nobody.Split(' '), "/usr/bin/python3", _script, _stop, .. arguments];
        Process = lab.Start("node", words[0], words[1..]);
    }

    public LabProcess Process { get; }

    /// <summary>Starts it and waits for the word by which it says that it has begun.</summary>
    public static async Task<Stranger> StartAsync(NamespaceLab lab, string program, string begun, params string[] arguments)
    {
        var stranger = new Stranger(lab, program, arguments);
        await Eventually.SeesAsync(() => stranger.Process.Log, log => log.Contains(begun, StringComparison.Ordinal), TimeSpan.FromSeconds(20), $"the stranger says '{begun}'");
        return stranger;
    }

    public async Task EndAsync()
    {
        await File.WriteAllTextAsync(_stop, "", TestContext.Current.CancellationToken);
        Assert.Equal(0, await Process.WaitForExitAsync(TimeSpan.FromSeconds(20)));
    }

    public void Dispose()
    {
        File.Delete(_script);
        File.Delete(_stop);
    }
}
