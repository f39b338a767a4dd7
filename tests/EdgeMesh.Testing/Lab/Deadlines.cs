using System.Globalization;

namespace EdgeMesh.Testing.Lab;

/// <summary>Deadlines are for a machine of the usual speed. An emulated one is many times slower: there the lab gives all of them
/// as many times more.</summary>
public static class Deadlines
{
    /// <summary>EDGEMESH_SLOWNESS, 1 where it is not set.</summary>
    public static double Slowness { get; } = double.Parse(
        Environment.GetEnvironmentVariable("EDGEMESH_SLOWNESS") is { Length: > 0 } told ? told : "1", CultureInfo.InvariantCulture);

    /// <summary>How long this may take on the machine at hand.</summary>
    public static TimeSpan Here(this TimeSpan deadline) => deadline * Slowness;
}
