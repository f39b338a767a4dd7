using System.Collections.Immutable;
using System.Runtime.CompilerServices;
using Microsoft.Extensions.Logging;

namespace EdgeMesh.Agent.Options;

/// <summary>A changed file that was found right.</summary>
/// <param name="Options">The options in force before, with the live keys of the new file. Keys that need a restart keep their old value.</param>
/// <param name="Live">Paths of the keys that changed and are in force from now on.</param>
/// <param name="NeedRestart">Paths of the keys that differ from what is in force until the agent is started again.</param>
internal sealed record ConfigChange(AgentOptions Options, ImmutableArray<string> Live, ImmutableArray<string> NeedRestart);

/// <summary>Looks at the configuration file again and again. Reading it is the only test that sees an edit in place, a rename and the
/// symlink swap of a ConfigMap volume alike. A wrong file is told once, and what was in force stays in force.</summary>
internal sealed partial class ConfigFileWatcher(
    LoadedConfig loaded, AgentEnvironment environment, ConfigOverrides overrides, TimeProvider time, ILogger<ConfigFileWatcher> logger)
{
    private readonly string _path = loaded.File;
    private readonly AgentConfig _atStart = loaded.Config ?? throw new ArgumentException("Watching begins with a file that is right.", nameof(loaded));
    private AgentConfig _lastGood = loaded.Config!;
    private AgentOptions _inForce = loaded.Options!;

    /// <summary>How often to look. A content counts once it was seen twice: a file that is being written parses well too.</summary>
    public TimeSpan Interval { get; init; } = TimeSpan.FromSeconds(1);

    /// <summary>The faults of the file as it stands now; empty while what is in force is what the file says.</summary>
    public ImmutableArray<ConfigFinding> Faults { get; private set; } = [];

    /// <summary>Yields each change that something live comes of, or that needs a restart. Ends when cancelled.</summary>
    public async IAsyncEnumerable<ConfigChange> WatchAsync([EnumeratorCancellation] CancellationToken cancellationToken)
    {
        using var timer = new PeriodicTimer(Interval, time);
        string? judged = null;
        string? seen = null;
        while (await NextTickAsync(timer, cancellationToken))
        {
            var findings = new FindingList(_path);
            var bytes = ConfigFile.TryReadBytes(_path, findings);
            var content = bytes is null ? string.Join('\n', findings.Faults()) : Convert.ToHexString(System.Security.Cryptography.SHA256.HashData(bytes));
            var stable = content == seen;
            seen = content;
            if (!stable || content == judged)
                continue;
            judged = content;
            if (Judge(bytes, findings) is { } change)
                yield return change;
        }
    }

    private static async Task<bool> NextTickAsync(PeriodicTimer timer, CancellationToken cancellationToken)
    {
        try
        {
            return await timer.WaitForNextTickAsync(cancellationToken);
        }
        catch (OperationCanceledException)
        {
            return false;
        }
    }

    private ConfigChange? Judge(byte[]? bytes, FindingList unreadable)
    {
        if (bytes is null)
        {
            Refuse([.. unreadable.Faults()]);
            return null;
        }

        var now = ConfigFile.Parse(_path, bytes, environment, overrides);
        if (now.Config is not { } config || now.Options is not { } options)
        {
            Refuse(now.Faults);
            return null;
        }

        if (Faults.Length > 0)
            FileIsRightAgain(_path);
        Faults = [];
        var live = ActiveKeys.Where(k => k.Live && k.DiffersBetween(_lastGood, config)).Select(k => k.Path).ToImmutableArray();
        var changedDead = ActiveKeys.Any(k => !k.Live && k.DiffersBetween(_lastGood, config));
        var restart = ActiveKeys.Where(k => !k.Live && k.DiffersBetween(_atStart, config)).Select(k => k.Path).ToImmutableArray();
        _lastGood = config;
        if (live.Length == 0 && !changedDead)
            return null;

        _inForce = _inForce with
        {
            LogLevel = options.LogLevel,
            Proxy = _inForce.Proxy with
            {
                FilterMode = options.Proxy.FilterMode,
                ExcludeServices = options.Proxy.ExcludeServices,
                DrainTimeout = options.Proxy.DrainTimeout,
            },
            Tunnel = _inForce.Tunnel with { RelayNodes = options.Tunnel.RelayNodes },
        };
        if (live.Length > 0)
            TookOver(_path, string.Join(", ", live));
        if (changedDead && restart.Length > 0)
            NeedsRestart(_path, string.Join(", ", restart));
        foreach (var warning in now.Warnings)
            Warning(warning.ToString());
        return new ConfigChange(_inForce, live, restart);
    }

    private static IEnumerable<ConfigKey> ActiveKeys => ConfigSchema.Keys.Where(k => k.Status == KeyStatus.Active);

    private void Refuse(ImmutableArray<ConfigFinding> faults)
    {
        Faults = faults;
        Refused(_path, string.Join(Environment.NewLine, faults));
    }
}
