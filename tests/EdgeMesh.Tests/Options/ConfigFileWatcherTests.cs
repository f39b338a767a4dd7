using System.Threading.Channels;
using EdgeMesh.Agent.Options;
using EdgeMesh.Catalog;
using EdgeMesh.Netfilter.Iptables;
using Microsoft.Extensions.Logging;
using Xunit;

namespace EdgeMesh.Tests.Options;

public sealed class ConfigFileWatcherTests : IAsyncDisposable
{
    private static readonly TimeSpan Deadline = TimeSpan.FromSeconds(20);

    private readonly TemporaryFolder _folder = new();
    private readonly ListLogger _log = new();
    private readonly CancellationTokenSource _end = new();
    private IAsyncEnumerator<ConfigChange>? _changes;
    private ConfigFileWatcher? _watcher;

    [Fact]
    public async Task ALiveKeyIsTakenOver()
    {
        var path = _folder.Write("agent.yaml", ConfigSample.Proxy("listenPort: 8080"));
        Watch(path);
        File.WriteAllText(path, ConfigSample.Proxy("listenPort: 8080\n    serviceFilterMode: FilterIfLabelDoesNotExists\n    excludeServices: [default/kubernetes]"));
        var change = await NextAsync();
        Assert.Equal(["modules.edgeProxy.serviceFilterMode", "modules.edgeProxy.excludeServices"], change.Live);
        Assert.Empty(change.NeedRestart);
        Assert.Equal(ServiceFilterMode.FilterIfLabelDoesNotExists, change.Options.Proxy.FilterMode);
        Assert.Single(change.Options.Proxy.ExcludeServices);
    }

    [Fact]
    public async Task KeysThatNeedARestartKeepTheirValueAndAreNamedInOneWarning()
    {
        var path = _folder.Write("agent.yaml", ConfigSample.Proxy("listenPort: 8080"));
        Watch(path);
        File.WriteAllText(path, ConfigSample.Proxy("listenPort: 8081\n    chainPrefix: KUBE\n    drainTimeout: 3s"));
        var change = await NextAsync();
        Assert.Equal(["modules.edgeProxy.drainTimeout"], change.Live);
        Assert.Equal(["modules.edgeProxy.chainPrefix", "modules.edgeProxy.listenPort"], change.NeedRestart);
        Assert.Equal((8080, ChainPrefix.EdgeMesh, TimeSpan.FromSeconds(3)),
            (change.Options.Proxy.ListenPort, change.Options.Proxy.ChainPrefix, change.Options.Proxy.DrainTimeout));
        var warning = Assert.Single(_log.Lines, l => l.Level == LogLevel.Warning);
        Assert.EndsWith("modules.edgeProxy.chainPrefix, modules.edgeProxy.listenPort", warning.Text, StringComparison.Ordinal);
    }

    [Fact]
    public async Task AWrongFileIsToldOnceAndWhatWasInForceStays()
    {
        var path = _folder.Write("agent.yaml", ConfigSample.Proxy("listenPort: 8080"));
        Watch(path);
        var next = NextAsync();
        File.WriteAllText(path, ConfigSample.Proxy("excludeService: []\n    listenPort: 0"));
        var told = await _log.NextAsync(Deadline);
        Assert.Contains("agent.yaml:4:5: modules.edgeProxy.excludeService: no such key", told.Text, StringComparison.Ordinal);
        Assert.Contains("0 is out of range", told.Text, StringComparison.Ordinal);
        Assert.Equal(2, _watcher!.Faults.Length);

        File.WriteAllText(path, ConfigSample.Proxy("listenPort: 8080\n    excludeServices: []"));
        Assert.Empty((await next).Options.Proxy.ExcludeServices);
        Assert.Empty(_watcher.Faults);
        Assert.Single(_log.Lines, l => l.Text.Contains("is not right", StringComparison.Ordinal));
        Assert.Single(_log.Lines, l => l.Text.Contains("right again", StringComparison.Ordinal));
    }

    [Theory]
    [InlineData("modules: {\nedgeProxy: {enable: true}\n}\n")]
    [InlineData("kind: EdgeMeshAgent\n... x\n")]
    [InlineData("a: &a [*a, *a]\n")]
    [InlineData("\0\u001b")]
    [InlineData("")]
    public async Task WhateverTheFileHoldsItIsReadAgainWhenItIsRight(string broken)
    {
        var path = _folder.Write("agent.yaml", ConfigSample.Proxy("listenPort: 8080"));
        Watch(path);
        var next = NextAsync();
        File.WriteAllText(path, broken);
        if (broken.Length > 0)
            await _log.NextAsync(Deadline);
        File.WriteAllText(path, ConfigSample.Proxy("listenPort: 8080\n    excludeServices: []"));
        while ((await next).Options.Proxy.ExcludeServices.Length > 0)
            next = NextAsync();
    }

    [Fact]
    public async Task AFileThatIsGoneIsToldOnce()
    {
        var path = _folder.Write("agent.yaml", ConfigSample.Proxy("listenPort: 8080"));
        Watch(path);
        var next = NextAsync();
        File.Delete(path);
        Assert.Contains("there is no such file", (await _log.NextAsync(Deadline)).Text, StringComparison.Ordinal);
        File.WriteAllText(path, ConfigSample.Proxy("drainTimeout: 1s"));
        Assert.Equal(TimeSpan.FromSeconds(1), (await next).Options.Proxy.DrainTimeout);
    }

    [Fact]
    public async Task TheSymlinkSwapOfAConfigMapIsSeen()
    {
        Directory.CreateDirectory(_folder.Path + "/v1");
        Directory.CreateDirectory(_folder.Path + "/v2");
        _folder.Write("v1/agent.yaml", ConfigSample.Proxy("drainTimeout: 1s"));
        _folder.Write("v2/agent.yaml", ConfigSample.Proxy("drainTimeout: 2s"));
        Directory.CreateSymbolicLink(_folder.Path + "/..data", "v1");
        File.CreateSymbolicLink(_folder.Path + "/agent.yaml", "..data/agent.yaml");
        Watch(_folder.Path + "/agent.yaml");
        Directory.CreateSymbolicLink(_folder.Path + "/..data_tmp", "v2");
        // As kubelet does it: a rename over the old link, which File.Move refuses for links to folders.
        using (var rename = System.Diagnostics.Process.Start("mv", ["-T", _folder.Path + "/..data_tmp", _folder.Path + "/..data"]))
            await rename.WaitForExitAsync().WaitAsync(Deadline);
        Assert.Equal(TimeSpan.FromSeconds(2), (await NextAsync()).Options.Proxy.DrainTimeout);
    }

    private void Watch(string path)
    {
        var loaded = ConfigFile.Load(path, ConfigSample.Cloud, new ConfigOverrides());
        _watcher = new ConfigFileWatcher(loaded, ConfigSample.Cloud, new ConfigOverrides(), TimeProvider.System, _log) { Interval = TimeSpan.FromMilliseconds(20) };
        _changes = _watcher.WatchAsync(_end.Token).GetAsyncEnumerator();
    }

    private async Task<ConfigChange> NextAsync()
    {
        Assert.True(await _changes!.MoveNextAsync().AsTask().WaitAsync(Deadline));
        return _changes.Current;
    }

    public async ValueTask DisposeAsync()
    {
        await _end.CancelAsync();
        if (_changes is not null)
            await _changes.DisposeAsync();
        _end.Dispose();
        _folder.Dispose();
    }

    private sealed class ListLogger : ILogger<ConfigFileWatcher>
    {
        private readonly Channel<(LogLevel Level, string Text)> _arrived = Channel.CreateUnbounded<(LogLevel, string)>();
        private readonly List<(LogLevel Level, string Text)> _lines = [];

        public IReadOnlyList<(LogLevel Level, string Text)> Lines => _lines;

        public async Task<(LogLevel Level, string Text)> NextAsync(TimeSpan deadline) => await _arrived.Reader.ReadAsync().AsTask().WaitAsync(deadline);

        public IDisposable? BeginScope<TState>(TState state)
            where TState : notnull => null;

        public bool IsEnabled(LogLevel logLevel) => true;

        public void Log<TState>(LogLevel logLevel, EventId eventId, TState state, Exception? exception, Func<TState, Exception?, string> formatter)
        {
            var line = (logLevel, formatter(state, exception));
            _lines.Add(line);
            _arrived.Writer.TryWrite(line);
        }
    }
}
