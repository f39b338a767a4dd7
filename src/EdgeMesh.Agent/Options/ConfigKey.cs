using EdgeMesh.Kubernetes.Yaml;

namespace EdgeMesh.Agent.Options;

internal enum KeyStatus
{
    /// <summary>Has its effect.</summary>
    Active,

    /// <summary>Belongs to a part that this release does not have; named in a warning when it is switched on.</summary>
    NotBuilt,

    /// <summary>Accepted without a word, since leaving it out changes nothing that a user could notice.</summary>
    NoEffect,

    /// <summary>Of an older release; accepted, and named in a warning.</summary>
    Retired,
}

internal delegate void FaultSink(YamlMark mark, string what, string remedy);

/// <summary>Turns a node into a value; tells the sink every fault and returns false if there was one.</summary>
internal delegate bool ValueReader<T>(YamlValue node, FaultSink fault, out T value);

/// <summary>One key of the configuration file. The table of these in <see cref="ConfigSchema"/> is the single source of
/// names, defaults, checks, the output of <c>config default</c> and the table in docs/configuration.md.</summary>
internal abstract class ConfigKey(string path, string typeName, string doc)
{
    private KeyStatus _status;

    public string Path { get; } = path;

    /// <summary>For people: <c>port</c>, <c>true or false</c>, <c>EDGEMESH | KUBE</c>.</summary>
    public string TypeName { get; } = typeName;

    public string Doc { get; } = doc;

    public KeyStatus Status
    {
        get => _status;
        init => _status = value;
    }

    /// <summary>Why this key exists though EdgeMesh has no such key; null for EdgeMesh's own.</summary>
    public string? Reason { get; init; }

    /// <summary>Taken over from a changed file without a restart.</summary>
    public bool Live { get; init; }

    /// <summary>For <see cref="KeyStatus.NotBuilt"/>: the path of the part and of the key that switches it on.
    /// Without a switch the key is named when it is set to something else than its default.</summary>
    public string? Part { get; private set; }

    public string? Switch { get; private set; }

    /// <summary>For <see cref="KeyStatus.Retired"/>: the key that took its place and still gets its value.</summary>
    public ConfigKey? Successor { get; init; }

    /// <summary>Marks the key as one of a part that is not built.</summary>
    /// <param name="switch">Path of the key that switches the part on; null where there is none.</param>
    public ConfigKey OfPart(string part, string? @switch)
    {
        _status = KeyStatus.NotBuilt;
        Part = part;
        Switch = @switch;
        return this;
    }

    /// <summary>As it stands in a YAML file.</summary>
    public abstract string DefaultText { get; }

    public abstract bool TryRead(YamlValue node, FaultSink fault, out object? value);

    public bool DiffersBetween(AgentConfig one, AgentConfig other) => one.TextOf(this) != other.TextOf(this);

    /// <summary>A value as text, so that two can be compared and shown.</summary>
    public abstract string TextOf(object? value);
}

internal sealed class ConfigKey<T>(string path, string typeName, T defaultValue, string doc, ValueReader<T> reader, Func<T, string> text)
    : ConfigKey(path, typeName, doc)
{
    public T Default { get; } = defaultValue;

    public override string DefaultText => text(Default);

    public override bool TryRead(YamlValue node, FaultSink fault, out object? value)
    {
        var good = reader(node, fault, out var typed);
        value = typed;
        return good;
    }

    public override string TextOf(object? value) => text((T)value!);
}
