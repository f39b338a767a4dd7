using EdgeMesh.Testing.Lab;
using Xunit;

namespace EdgeMesh.HostTests;

/// <summary>A process without rights on the node, that runs a Python program of this project until it is told to end, or the lab ends.</summary>
internal sealed class Stranger : IDisposable
{
    public const string Nobody = "setpriv --reuid 65534 --regid 65534 --clear-groups --inh-caps=-all --bounding-set=-all";

    private readonly string _script;
    private readonly string _stop;

    /// <summary>uid 0, as in a container that drops all capabilities.</summary>
    public const string RootWithoutCapabilities = "setpriv --inh-caps=-all --bounding-set=-all";

    private Stranger(NamespaceLab lab, string rights, string program, string[] arguments)
    {
        // Readable for all, which the folder of the sources need not be.
        _script = Path.Combine(Path.GetTempPath(), $"edgemesh-{Guid.NewGuid():N}.py");
        _stop = _script + ".stop";
        File.Copy(program, _script);
        string[] words = [.. rights.Split(' '), "/usr/bin/python3", _script, _stop, .. arguments];
        Process = lab.Start("node", words[0], words[1..]);
    }

    public LabProcess Process { get; }

    /// <summary>Starts it and waits for the word by which it says that it has begun.</summary>
    public static Task<Stranger> StartAsync(NamespaceLab lab, string program, string begun, params string[] arguments) =>
        StartAsync(lab, Nobody, program, begun, arguments);

    /// <inheritdoc cref="StartAsync(NamespaceLab, string, string, string[])"/>
    /// <param name="rights">How it is started: <see cref="Nobody"/> or <see cref="RootWithoutCapabilities"/>.</param>
    public static async Task<Stranger> StartAsync(NamespaceLab lab, string rights, string program, string begun, string[] arguments)
    {
        var stranger = new Stranger(lab, rights, program, arguments);
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
