namespace EdgeMesh.Agent.Options;

/// <summary>What Kubernetes takes as names (RFC 1123).</summary>
internal static class KubernetesNames
{
    public static bool IsLabel(string text) =>
        text.Length is > 0 and <= 63
        && text.All(c => char.IsAsciiLetterLower(c) || char.IsAsciiDigit(c) || c == '-')
        && text[0] != '-' && text[^1] != '-';

    public static bool IsSubdomain(string text) =>
        text.Length is > 0 and <= 253
        && text.Split('.').All(part => part.Length > 0 && part[0] != '-' && part[^1] != '-'
            && part.All(c => char.IsAsciiLetterLower(c) || char.IsAsciiDigit(c) || c == '-'));
}
