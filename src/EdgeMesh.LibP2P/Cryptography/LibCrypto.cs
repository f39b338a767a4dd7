using System.Runtime.InteropServices;

namespace EdgeMesh.LibP2P.Cryptography;

/// <summary>The calls into OpenSSL 3 that .NET has no type for, X25519 and Ed25519, and those for which its type costs too much:
/// the cipher of small messages (docs/decisions/0011-the-tunnel-loop.md). .NET on Linux loads the same library for everything
/// else, so this adds no dependency.</summary>
internal static unsafe partial class LibCrypto
{
    internal const int X25519 = 1034;
    internal const int Ed25519 = 1087;
    internal const int EVP_CTRL_AEAD_GET_TAG = 0x10;
    internal const int EVP_CTRL_AEAD_SET_TAG = 0x11;

    private const string Library = "libcrypto.so.3";

    [LibraryImport(Library)]
    internal static partial KeyHandle EVP_PKEY_new_raw_private_key(int type, nint engine, byte* key, nuint length);

    [LibraryImport(Library)]
    internal static partial KeyHandle EVP_PKEY_new_raw_public_key(int type, nint engine, byte* key, nuint length);

    [LibraryImport(Library)]
    internal static partial int EVP_PKEY_get_raw_public_key(KeyHandle key, byte* destination, nuint* length);

    [LibraryImport(Library)]
    internal static partial void EVP_PKEY_free(nint key);

    [LibraryImport(Library)]
    internal static partial nint EVP_PKEY_CTX_new(KeyHandle key, nint engine);

    [LibraryImport(Library)]
    internal static partial void EVP_PKEY_CTX_free(nint context);

    [LibraryImport(Library)]
    internal static partial int EVP_PKEY_derive_init(nint context);

    [LibraryImport(Library)]
    internal static partial int EVP_PKEY_derive_set_peer(nint context, KeyHandle peer);

    [LibraryImport(Library)]
    internal static partial int EVP_PKEY_derive(nint context, byte* destination, nuint* length);

    [LibraryImport(Library)]
    internal static partial nint EVP_MD_CTX_new();

    [LibraryImport(Library)]
    internal static partial void EVP_MD_CTX_free(nint context);

    [LibraryImport(Library)]
    internal static partial int EVP_DigestSignInit(nint context, nint keyContext, nint digest, nint engine, KeyHandle key);

    [LibraryImport(Library)]
    internal static partial int EVP_DigestSign(nint context, byte* signature, nuint* signatureLength, byte* data, nuint dataLength);

    [LibraryImport(Library)]
    internal static partial int EVP_DigestVerifyInit(nint context, nint keyContext, nint digest, nint engine, KeyHandle key);

    [LibraryImport(Library)]
    internal static partial int EVP_DigestVerify(nint context, byte* signature, nuint signatureLength, byte* data, nuint dataLength);

    [LibraryImport(Library)]
    internal static partial nint EVP_chacha20_poly1305();

    [LibraryImport(Library)]
    internal static partial CipherHandle EVP_CIPHER_CTX_new();

    [LibraryImport(Library)]
    internal static partial void EVP_CIPHER_CTX_free(nint context);

    [LibraryImport(Library)]
    internal static partial int EVP_CipherInit_ex(CipherHandle context, nint cipher, nint engine, byte* key, byte* nonce, int encrypt);

    [LibraryImport(Library)]
    internal static partial int EVP_CipherUpdate(CipherHandle context, byte* destination, int* written, byte* source, int length);

    [LibraryImport(Library)]
    internal static partial int EVP_CipherFinal_ex(CipherHandle context, byte* destination, int* written);

    [LibraryImport(Library)]
    internal static partial int EVP_CIPHER_CTX_ctrl(CipherHandle context, int command, int length, byte* value);

    /// <summary>Failures leave entries in a queue of the thread, which the next caller of OpenSSL on it would take for its own.</summary>
    [LibraryImport(Library)]
    internal static partial void ERR_clear_error();
}

/// <summary>One key inside OpenSSL.</summary>
internal sealed class KeyHandle : SafeHandle
{
    public KeyHandle()
        : base(0, ownsHandle: true)
    {
    }

    public override bool IsInvalid => handle == 0;

    protected override bool ReleaseHandle()
    {
        LibCrypto.EVP_PKEY_free(handle);
        return true;
    }
}

/// <summary>A cipher with its key inside OpenSSL, which wipes the key when it frees it.</summary>
internal sealed class CipherHandle : SafeHandle
{
    public CipherHandle()
        : base(0, ownsHandle: true)
    {
    }

    public override bool IsInvalid => handle == 0;

    protected override bool ReleaseHandle()
    {
        LibCrypto.EVP_CIPHER_CTX_free(handle);
        return true;
    }
}
