using System.Collections.Immutable;

namespace EdgeMesh.Kubernetes;

/// <summary>One line of a ClusterRole.</summary>
/// <param name="ApiGroup">Empty for core/v1.</param>
public sealed record AccessRule(string ApiGroup, string Resource, ImmutableArray<string> Verbs)
{
    public override string ToString() => $"{(ApiGroup.Length == 0 ? "core" : ApiGroup)}/{Resource}: {string.Join(',', Verbs)}";
}

/// <summary>Everything that the sources of this project ask an API server for; the deployed ClusterRole grants exactly this.</summary>
public static class RequiredAccess
{
    private static readonly ImmutableArray<string> ReadVerbs = ["list", "watch"];

    public static ImmutableArray<AccessRule> Rules { get; } = [.. Api.Kinds.All.Select(kind => new AccessRule(kind.Group, kind.Plural, ReadVerbs))];
}
