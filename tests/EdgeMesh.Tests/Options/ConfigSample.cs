using System.Text;
using EdgeMesh.Agent.Options;
using Xunit;

namespace EdgeMesh.Tests.Options;

/// <summary>Configuration files without a disk, read on a node of the test's choice.</summary>
internal static class ConfigSample
{
    public static AgentEnvironment Cloud { get; } = Node(("KUBERNETES_PORT", "tcp://10.96.0.1:443"), ("NODE_NAME", "cloud-1"));

    public static AgentEnvironment Edge { get; } = Node(("NODE_NAME", "edge-1"));

    public static AgentEnvironment Node(params (string Name, string Value)[] variables) =>
        new(name => Array.Find(variables, v => v.Name == name).Value, "Host-A.example");

    public static LoadedConfig Read(string text, AgentEnvironment? environment = null, ConfigOverrides? overrides = null) =>
        ConfigFile.Parse("agent.yaml", Encoding.UTF8.GetBytes(text), environment ?? Cloud, overrides ?? new ConfigOverrides());

    public static AgentOptions Options(string text, AgentEnvironment? environment = null, ConfigOverrides? overrides = null)
    {
        var loaded = Read(text, environment, overrides);
        Assert.True(loaded.Options is not null, string.Join('\n', loaded.Faults));
        return loaded.Options;
    }

    /// <summary>Asserts that the text has exactly one fault, and gives it.</summary>
    public static ConfigFinding OneFault(string text) => Assert.Single(Read(text).Faults);

    /// <summary>A file whose edgeProxy section has one more line.</summary>
    public static string Proxy(string line) => $"modules:\n  edgeProxy:\n    enable: true\n    {line}\n";
}
