namespace EdgeMesh.HostTests;

/// <summary>Tests that <c>./kernels.sh</c> runs on kernels that users have: those whose subject is what a kernel does, and no time.</summary>
internal static class Ring
{
    /// <summary>The name of the trait.</summary>
    public const string Name = "Ring";

    /// <summary>Everywhere: here and on the other kernels.</summary>
    public const string Kernels = "Kernels";

    /// <summary>Only there, because the kernel of a build machine may lack what they need; <c>./test.sh</c> leaves these out.</summary>
    public const string OnlyKernels = "OnlyKernels";

    /// <summary>Of the program for arm64, which <c>./kernels.sh --arch arm64</c> builds.</summary>
    public const string OnlyArm64 = "OnlyArm64";

    /// <summary>Whether this is one of those kernels.</summary>
    public static bool IsHere { get; } = Environment.GetEnvironmentVariable("EDGEMESH_RING") == Kernels;
}
