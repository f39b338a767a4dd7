namespace EdgeMesh.Testing.Lab;

/// <summary>How an agent in the lab is started.</summary>
public sealed record AgentOptions
{
    public string NodeName { get; init; } = "peer-node";

    /// <summary>The agent's configuration file; null: <see cref="AgentConfig"/> as it is.</summary>
    public AgentConfig Config { get; init; } = new();

    /// <summary>URL of the API server that the agent asks; null: it reads the lab's manifests.</summary>
    public string? ApiServer { get; init; }

    /// <summary>False: returns as soon as the process runs, for a start that is expected to fail or to wait.</summary>
    public bool WaitUntilReady { get; init; } = true;

    public TimeSpan ReadyDeadline { get; init; } = TimeSpan.FromSeconds(20);
}

/// <summary>The settings of an agent that tests turn. Everything else keeps the program's defaults.</summary>
public sealed record AgentConfig
{
    public string ServiceFilterMode { get; init; } = "FilterIfLabelExists";

    public string ChainPrefix { get; init; } = "EDGEMESH";

    /// <summary>Further lines below <c>modules.edgeProxy</c>, without indentation.</summary>
    public IReadOnlyList<string> EdgeProxy { get; init; } = [];

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
        .. EdgeProxy.Select(line => "    " + line),
        "",
    ]);
}
