using System.Runtime.InteropServices;
using System.Security.Cryptography;

namespace EdgeMesh.Names;

/// <summary>Ids of messages to upstreams, which nobody may guess; the system is asked for many at a time.</summary>
internal sealed class RandomIds
{
    private readonly ushort[] _ids = new ushort[256];
    private int _used = 256;

    internal ushort Next()
    {
        if (_used == _ids.Length)
        {
            RandomNumberGenerator.Fill(MemoryMarshal.AsBytes(_ids.AsSpan()));
            _used = 0;
        }

        return _ids[_used++];
    }
}
