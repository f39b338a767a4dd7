using System.Numerics;

namespace EdgeMesh.Kubernetes.Watching;

/// <summary>
/// resourceVersions as decimal numbers of any length, as API servers promise them to be. Anything else is incomparable:
/// neither older nor newer, and whoever asks has to take the careful way.
/// </summary>
internal static class Versions
{
    private const int Longest = 40;

    public static BigInteger? Number(string? version)
    {
        if (version is not { Length: > 0 and <= Longest } || version == "0")
        {
            return null;
        }

        var number = BigInteger.Zero;
        foreach (var c in version)
        {
            if (!char.IsAsciiDigit(c))
            {
                return null;
            }

            number = (number * 10) + (c - '0');
        }

        return number;
    }

    /// <returns>False also where the two cannot be compared.</returns>
    public static bool IsNewer(string? version, string? than) => Number(version) is { } a && Number(than) is { } b && a > b;
}
