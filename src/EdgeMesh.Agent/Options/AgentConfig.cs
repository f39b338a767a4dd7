using EdgeMesh.Kubernetes.Yaml;

namespace EdgeMesh.Agent.Options;

/// <summary>What a user wrote: the values of the keys that a file sets, each with its place. Values are checked one by one;
/// what they mean together is <see cref="AgentOptions"/>.</summary>
internal sealed class AgentConfig
{
    private readonly Dictionary<ConfigKey, (object? Value, YamlMark Mark)> _set = [];

    public required string File { get; init; }

    public T Get<T>(ConfigKey<T> key) => _set.TryGetValue(key, out var entry) ? (T)entry.Value! : key.Default;

    public bool IsSet(ConfigKey key) => _set.ContainsKey(key);

    public YamlMark MarkOf(ConfigKey key) => _set.TryGetValue(key, out var entry) ? entry.Mark : YamlMark.WholeFile;

    /// <summary>The effective value as text.</summary>
    public string TextOf(ConfigKey key) => _set.TryGetValue(key, out var entry) ? key.TextOf(entry.Value) : key.DefaultText;

    public void Set(ConfigKey key, object? value, YamlMark mark) => _set[key] = (value, mark);
}
