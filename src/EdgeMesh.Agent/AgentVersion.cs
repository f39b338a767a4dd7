using System.Reflection;

namespace EdgeMesh.Agent;

internal static class AgentVersion
{
    /// <summary>The version as it was built, without the commit.</summary>
    public static string Text { get; } = Read();

    private static string Read()
    {
        var version = typeof(AgentVersion).Assembly.GetCustomAttribute<AssemblyInformationalVersionAttribute>()?.InformationalVersion ?? "unknown";
        var plus = version.IndexOf('+', StringComparison.Ordinal);
        return plus < 0 ? version : version[..plus];
    }
}
