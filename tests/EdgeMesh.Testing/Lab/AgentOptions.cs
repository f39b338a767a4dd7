namespace EdgeMesh.Testing.Lab;

/// <summary>How an agent in the lab is started.</summary>
public sealed record AgentOptions
{
    public string NodeName { get; init; } = "peer-node";

    /// <summary>The agent's configuration file; null: <see cref="AgentConfig"/> as it is.</summary>
    public AgentConfig Config { get; init; } = new();

    /// <summary>Further arguments of <c>run</c>.</summary>
    public IReadOnlyList<string> Arguments { get; init; } = [];

    /// <summary>False: without <c>--manifests</c>, so that the configuration names the source.</summary>
    public bool Manifests { get; init; } = true;

    /// <summary>Variables that the agent sees; null takes one away.</summary>
    public IReadOnlyDictionary<string, string?> Environment { get; init; } = new Dictionary<string, string?>();

    /// <summary>A program and its arguments that becomes the agent (exec), such as <c>setpriv … --</c>; empty: the agent itself.</summary>
    public IReadOnlyList<string> Launcher { get; init; } = [];

    /// <summary>False: returns as soon as the process runs, for a start that is expected to fail or to wait.</summary>
    public bool WaitUntilReady { get; init; } = true;

    /// <summary>A start takes under two seconds; the rest is for a machine that builds something meanwhile.</summary>
    public TimeSpan ReadyDeadline { get; init; } = TimeSpan.FromSeconds(60);
}

/// <summary>The settings of an agent that tests turn. Everything else keeps the program's defaults.</summary>
public sealed record AgentConfig
{
    public string ServiceFilterMode { get; init; } = "FilterIfLabelExists";

    public string ChainPrefix { get; init; } = "EDGEMESH";

    /// <summary>auto, iptables or nftables.</summary>
    public string Backend { get; init; } = "auto";

    /// <summary>auto (the kernel wherever it can), userspace or kernel.</summary>
    public string DataPath { get; init; } = "auto";

    /// <summary>Further lines below <c>modules.edgeProxy</c>, without indentation.</summary>
    public IReadOnlyList<string> EdgeProxy { get; init; } = [];

    /// <summary>Further lines below <c>modules</c>, without indentation.</summary>
    public IReadOnlyList<string> Modules { get; init; } = [];

    /// <summary>Further lines below <c>commonConfig</c>, without indentation.</summary>
    public IReadOnlyList<string> CommonConfig { get; init; } = [];

    /// <summary>Lines below <c>kubeAPIConfig</c>, without indentation.</summary>
    public IReadOnlyList<string> KubeApi { get; init; } = [];

    internal string ToYaml(string stateFolder) => string.Join('\n',
    [
        "apiVersion: agent.edgemesh.config.kubeedge.io/v1alpha1",
        "kind: EdgeMeshAgent",
        .. KubeApi.Count == 0 ? (IEnumerable<string>)[] : ["kubeAPIConfig:", .. KubeApi.Select(line => "  " + line)],
        "commonConfig:",
        $"  stateDir: {stateFolder}",
        .. CommonConfig.Select(line => "  " + line),
        "modules:",
        "  edgeProxy:",
        "    enable: true",
        $"    serviceFilterMode: {ServiceFilterMode}",
        $"    chainPrefix: {ChainPrefix}",
        $"    backend: {Backend}",
        $"    dataPath: {DataPath}",
        .. EdgeProxy.Select(line => "    " + line),
        .. Modules.Select(line => "  " + line),
        "",
    ]);
}
