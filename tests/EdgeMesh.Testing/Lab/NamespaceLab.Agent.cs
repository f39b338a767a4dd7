namespace EdgeMesh.Testing.Lab;

public sealed partial class NamespaceLab
{
    private ManifestFolder? _manifests;

    /// <summary>The agent's folder of manifests; empty until a test writes to it.</summary>
    public ManifestFolder Manifests => _manifests ??= new ManifestFolder(Path.Combine(Folder, "manifests"));

    public string ConfigFile => Path.Combine(Folder, "edgemesh-agent.yaml");

    public string StateFolder => Path.Combine(Folder, "state");

    /// <summary>Writes the configuration file in one step, as a running agent watches it.</summary>
    public void Configure(AgentConfig config) => ManifestFolder.Replace(ConfigFile, config.ToYaml(StateFolder));

    /// <summary>Starts the agent on the node and waits until it says that it is ready.
    /// The program is $EDGEMESH_AGENT, otherwise what ./build.sh or a build of the tests made.</summary>
    public async Task<AgentProcess> StartAgentAsync(AgentOptions? options = null)
    {
        options ??= new AgentOptions();
        Configure(options.Config);
        string[] source = options.Manifests ? ["--manifests", Manifests.Path] : [];
        string[] command = [.. options.Launcher, AgentProgram, "run", "--config-file", ConfigFile, .. source, "--node-name", options.NodeName, .. options.Arguments];
        var environment = AgentEnvironment(Folder);
        foreach (var (key, value) in options.Environment)
            environment[key] = value;
        var process = new LabProcess(
            Node.Name,
            command[0],
            command[1..],
            environment);
        var agent = OwnedByLab(new AgentProcess(Node, process));
        if (options.WaitUntilReady)
            await agent.UntilReadyAsync(options.ReadyDeadline);
        return agent;
    }

    /// <summary>Runs another command of the agent's program on the node, such as <c>status</c> or <c>cleanup</c>, to its end.</summary>
    public Task<CommandResult> AgentCommandAsync(params string[] arguments) => RunAsync("node", AgentProgram, arguments);

    /// <summary>Whoever runs the tests on a node of a cluster has these set; the agent in the lab shall not find that cluster.</summary>
    /// <param name="folder">Of the node.</param>
    internal static Dictionary<string, string?> AgentEnvironment(string folder) =>
        new(OwnLock(folder)) { ["KUBERNETES_PORT"] = "", ["KUBERNETES_SERVICE_HOST"] = "", ["KUBECONFIG"] = "", ["NODE_NAME"] = "" };

    /// <summary>The program that tests run.</summary>
    public static string AgentProgram
    {
        get
        {
            string?[] candidates =
            [
                Environment.GetEnvironmentVariable("EDGEMESH_AGENT"),
                Path.Combine(AppContext.BaseDirectory, "edgemesh-agent"),
            ];
            return candidates.FirstOrDefault(path => !string.IsNullOrEmpty(path) && File.Exists(path))
                ?? throw new InvalidOperationException("There is no edgemesh-agent program beside the tests. Build it (./build.sh) and name it in EDGEMESH_AGENT.");
        }
    }
}
