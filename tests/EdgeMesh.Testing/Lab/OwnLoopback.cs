using System.Net;

namespace EdgeMesh.Testing.Lab;

/// <summary>
/// Loopback addresses that no other test of this process uses, so that every port is free there. A port that was free at 127.0.0.1
/// a moment ago may belong to a neighbour by now.
/// </summary>
public static class OwnLoopback
{
    private static int _last;

    /// <summary>127.64.0.1 and up.</summary>
    public static IPAddress Next()
    {
        var number = Interlocked.Increment(ref _last);
        return new IPAddress([127, (byte)(64 + ((number >> 16) & 0x3f)), (byte)(number >> 8), (byte)number]);
    }
}
