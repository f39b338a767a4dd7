using System.Collections.Immutable;
using System.Text;
using EdgeMesh.Kubernetes;
using EdgeMesh.Kubernetes.Yaml;

namespace EdgeMesh.Agent.Options;

/// <summary>A file that was read, for good or bad.</summary>
internal sealed record LoadedConfig
{
    public required string File { get; init; }

    /// <summary>Null where there are faults.</summary>
    public AgentConfig? Config { get; init; }

    /// <summary>Null where there are faults.</summary>
    public AgentOptions? Options { get; init; }

    public required ImmutableArray<ConfigFinding> Faults { get; init; }

    public required ImmutableArray<ConfigFinding> Warnings { get; init; }
}

/// <summary>Reads configuration files. Nothing that a file holds makes it throw.</summary>
internal static class ConfigFile
{
    public const string DefaultPath = "/etc/edgemesh/config/edgemesh-agent.yaml";

    public const int MaxBytes = 1024 * 1024;

    private static readonly UTF8Encoding StrictUtf8 = new(encoderShouldEmitUTF8Identifier: false, throwOnInvalidBytes: true);

    public static LoadedConfig Load(string path, AgentEnvironment environment, ConfigOverrides overrides)
    {
        var findings = new FindingList(path);
        return TryReadBytes(path, findings) is { } bytes
            ? Parse(path, bytes, environment, overrides, findings)
            : Result(path, null, null, findings);
    }

    public static LoadedConfig Parse(string path, byte[] content, AgentEnvironment environment, ConfigOverrides overrides) =>
        Parse(path, content, environment, overrides, new FindingList(path));

    /// <returns>Null where the file cannot be read; the reason is in <paramref name="findings"/>.</returns>
    public static byte[]? TryReadBytes(string path, FindingList findings)
    {
        try
        {
            if (Directory.Exists(path))
            {
                findings.Fault(YamlMark.WholeFile, "", "this is a folder", "name the file in it");
                return null;
            }

            var bytes = SmallFile.Read(path, MaxBytes);
            if (bytes.Length <= MaxBytes)
                return bytes;
            findings.Fault(YamlMark.WholeFile, "", "the file is larger than 1 MiB, and no configuration is", "look whether this is the right file");
        }
        catch (Exception e) when (e is FileNotFoundException or DirectoryNotFoundException)
        {
            findings.Fault(YamlMark.WholeFile, "", "there is no such file", $"write one: edgemesh-agent config minimal > {path}");
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or NotSupportedException or ArgumentException)
        {
            findings.Fault(YamlMark.WholeFile, "", $"the file cannot be read: {e.Message.TrimEnd('.')}", "let the agent's user read it");
        }

        return null;
    }

    private static LoadedConfig Parse(string path, byte[] content, AgentEnvironment environment, ConfigOverrides overrides, FindingList findings)
    {
        if (content.Length > MaxBytes)
        {
            findings.Fault(YamlMark.WholeFile, "", "the file is larger than 1 MiB, and no configuration is", "look whether this is the right file");
            return Result(path, null, null, findings);
        }

        string text;
        try
        {
            text = StrictUtf8.GetString(content).TrimStart('\uFEFF');
        }
        catch (DecoderFallbackException e)
        {
            findings.Fault(YamlMark.WholeFile, "", $"byte {e.Index} is not UTF-8 text", "save the file as UTF-8");
            return Result(path, null, null, findings);
        }

        var config = new AgentConfig { File = path };
        var root = ConfigYaml.Read(text, findings);
        if (root is null or YamlScalar { IsNull: true })
        {
            if (!findings.HasFaults)
                findings.Fault(YamlMark.WholeFile, "", "the file is empty", $"write one: edgemesh-agent config minimal > {path}");
            return Result(path, null, null, findings);
        }

        new ConfigBinder(config, findings).Bind(root);
        return Result(path, config, AgentOptionsResolver.Resolve(config, environment, overrides, findings), findings);
    }

    private static LoadedConfig Result(string path, AgentConfig? config, AgentOptions? options, FindingList findings) => new()
    {
        File = path,
        Config = findings.HasFaults ? null : config,
        Options = findings.HasFaults ? null : options,
        Faults = [.. findings.Faults()],
        Warnings = [.. findings.Warnings()],
    };
}
