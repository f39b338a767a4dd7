namespace EdgeMesh.HostTests;

/// <summary>What takes minutes to show has a short form that shows the same with less of it, and a long one for a quiet machine.</summary>
internal static class LongForm
{
    /// <summary>EDGEMESH_LONG=1.</summary>
    public static bool IsAsked { get; } = Environment.GetEnvironmentVariable("EDGEMESH_LONG") == "1";
}
