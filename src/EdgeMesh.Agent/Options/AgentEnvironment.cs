namespace EdgeMesh.Agent.Options;

/// <summary>What surrounds the process, given from outside so that tests can be any node.</summary>
internal sealed record AgentEnvironment(Func<string, string?> Variable, string HostName)
{
    public static AgentEnvironment OfProcess() => new(Environment.GetEnvironmentVariable, Environment.MachineName);
}

/// <summary>What the command line says; it wins over the file.</summary>
internal sealed record ConfigOverrides
{
    public string? Manifests { get; init; }

    public string? NodeName { get; init; }

    /// <summary>klog's -v: 4 and above is debug.</summary>
    public int? Verbosity { get; init; }
}
