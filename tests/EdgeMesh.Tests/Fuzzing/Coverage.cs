using System.Reflection;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace EdgeMesh.Tests.Fuzzing;

/// <summary>Which branches of the product an input leads through. Only where the product's assemblies were instrumented, as
/// `./fuzz.sh` does it with SharpFuzz: each branch then counts itself in a map that is made here, in the way of AFL.</summary>
internal sealed unsafe class Coverage
{
    private const int Size = 1 << 16;

    private readonly byte* _map = (byte*)NativeMemory.AllocZeroed(Size);

    /// <param name="trace">SharpFuzz.Common.Trace, whose field the instrumented code writes to.</param>
    private Coverage(Type trace) =>
        (trace.GetField("SharedMem") ?? throw new MissingFieldException(trace.FullName, "SharedMem")).SetValue(null, Pointer.Box(_map, typeof(byte*)));

    /// <summary>One for all: the field is static. Null where nothing is instrumented.</summary>
    public static Coverage? Instance { get; } =
        Environment.GetEnvironmentVariable("EDGEMESH_FUZZ_TRACE") is { } file ? new Coverage(Assembly.LoadFrom(file).GetType("SharpFuzz.Common.Trace", throwOnError: true)!) : null;

    /// <summary>Before any code of the product runs: what is instrumented writes to the map, whoever calls it.</summary>
    [ModuleInitializer]
    public static void Prepare() => _ = Instance;

    /// <summary>Before each input.</summary>
    public void Begin() => new Span<byte>(_map, Size).Clear();

    /// <summary>Adds what was counted since <see cref="Begin"/>.</summary>
    /// <param name="seen">What earlier inputs led through: for each edge a bit for each order of magnitude.</param>
    /// <returns>How many edges were met for the first time, and whether one was met more or less often than ever before.</returns>
    public (int Edges, bool IsNew) AddTo(byte[] seen)
    {
        var edges = 0;
        var isNew = false;
        var counted = new Span<byte>(_map, Size);
        for (var at = counted.IndexOfAnyExcept((byte)0); at >= 0;)
        {
            var bucket = (byte)(1 << Math.Min(7, (int)Math.Log2(counted[at])));
            if (seen[at] == 0)
                edges++;
            isNew |= (seen[at] & bucket) == 0;
            seen[at] |= bucket;
            var next = counted[(at + 1)..].IndexOfAnyExcept((byte)0);
            at = next < 0 ? next : at + 1 + next;
        }

        return (edges, isNew);
    }

    /// <returns>A place for <see cref="AddTo"/>.</returns>
    public static byte[] Nothing() => new byte[Size];
}
