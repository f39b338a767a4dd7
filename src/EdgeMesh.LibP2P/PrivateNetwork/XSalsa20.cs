using System.Buffers.Binary;
using System.Numerics;
using System.Security.Cryptography;

namespace EdgeMesh.LibP2P.PrivateNetwork;

/// <summary>One direction of an XSalsa20 key stream: Salsa20/20 under a key derived from the first 16 bytes of a 24-byte
/// nonce (Bernstein, "Extending the Salsa20 nonce"). It hides, it does not authenticate: Noise or TLS does that above it.</summary>
public sealed class XSalsa20
{
    public const int KeySize = 32;
    public const int NonceSize = 24;

    private const int BlockSize = 64;

    private readonly uint[] _state = new uint[16];
    private readonly byte[] _block = new byte[BlockSize];
    private int _used = BlockSize;

    public XSalsa20(ReadOnlySpan<byte> key, ReadOnlySpan<byte> nonce)
    {
        if (key.Length != KeySize)
            throw new ArgumentException($"must be {KeySize} bytes", nameof(key));
        if (nonce.Length != NonceSize)
            throw new ArgumentException($"must be {NonceSize} bytes", nameof(nonce));

        Fill(_state, key, nonce[..16]);
        Span<uint> mixed = stackalloc uint[16];
        Rounds(_state, mixed);
        Span<byte> derived = stackalloc byte[KeySize];
        // HSalsa20: the diagonal and the nonce's places, without the final addition.
        ReadOnlySpan<int> places = [0, 5, 10, 15, 6, 7, 8, 9];
        for (var i = 0; i < places.Length; i++)
            BinaryPrimitives.WriteUInt32LittleEndian(derived[(4 * i)..], mixed[places[i]]);

        Span<byte> tail = stackalloc byte[16];
        tail.Clear();
        nonce[16..].CopyTo(tail);
        Fill(_state, derived, tail);
        CryptographicOperations.ZeroMemory(derived);
    }

    /// <summary>Encrypts or decrypts the next bytes of the direction, in place.</summary>
    public void Transform(Span<byte> data)
    {
        while (!data.IsEmpty)
        {
            if (_used == BlockSize)
                NextBlock();
            var length = Math.Min(data.Length, BlockSize - _used);
            var stream = _block.AsSpan(_used, length);
            for (var i = 0; i < length; i++)
                data[i] ^= stream[i];
            data = data[length..];
            _used += length;
        }
    }

    private void NextBlock()
    {
        Span<uint> mixed = stackalloc uint[16];
        Rounds(_state, mixed);
        for (var i = 0; i < 16; i++)
            BinaryPrimitives.WriteUInt32LittleEndian(_block.AsSpan(4 * i), mixed[i] + _state[i]);
        if (++_state[8] == 0)
            _state[9]++;
        _used = 0;
    }

    private static void Fill(Span<uint> state, ReadOnlySpan<byte> key, ReadOnlySpan<byte> input)
    {
        ReadOnlySpan<uint> constants = [0x61707865, 0x3320646E, 0x79622D32, 0x6B206574];
        for (var i = 0; i < 4; i++)
        {
            state[5 * i] = constants[i];
            state[1 + i] = BinaryPrimitives.ReadUInt32LittleEndian(key[(4 * i)..]);
            state[11 + i] = BinaryPrimitives.ReadUInt32LittleEndian(key[(16 + 4 * i)..]);
            state[6 + i] = BinaryPrimitives.ReadUInt32LittleEndian(input[(4 * i)..]);
        }
    }

    private static void Rounds(ReadOnlySpan<uint> from, Span<uint> x)
    {
        from.CopyTo(x);
        for (var i = 0; i < 10; i++)
        {
            Quarter(x, 0, 4, 8, 12);
            Quarter(x, 5, 9, 13, 1);
            Quarter(x, 10, 14, 2, 6);
            Quarter(x, 15, 3, 7, 11);
            Quarter(x, 0, 1, 2, 3);
            Quarter(x, 5, 6, 7, 4);
            Quarter(x, 10, 11, 8, 9);
            Quarter(x, 15, 12, 13, 14);
        }
    }

    private static void Quarter(Span<uint> x, int a, int b, int c, int d)
    {
        x[b] ^= BitOperations.RotateLeft(x[a] + x[d], 7);
        x[c] ^= BitOperations.RotateLeft(x[b] + x[a], 9);
        x[d] ^= BitOperations.RotateLeft(x[c] + x[b], 13);
        x[a] ^= BitOperations.RotateLeft(x[d] + x[c], 18);
    }
}
