using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using EdgeMesh.LibP2P;
using EdgeMesh.LibP2P.Cryptography;
using EdgeMesh.LibP2P.PrivateNetwork;
using EdgeMesh.LibP2P.Tls;
using Xunit;
using PublicKey = EdgeMesh.LibP2P.Cryptography.PublicKey;

namespace EdgeMesh.Tests.LibP2P;

public sealed class CryptographyTests
{
    [Fact]
    public void Curve25519AgreesAsInRfc7748()
    {
        // Section 6.1.
        using var alice = X25519KeyPair.FromPrivateKey(Hex("77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a"));
        using var bob = X25519KeyPair.FromPrivateKey(Hex("5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb"));
        Assert.Equal(Hex("8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a"), alice.PublicKey.ToArray());
        Assert.Equal(Hex("de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f"), bob.PublicKey.ToArray());
        var secret = new byte[32];
        Assert.True(alice.TryAgree(bob.PublicKey, secret));
        Assert.Equal(Hex("4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742"), secret);
        Assert.True(bob.TryAgree(alice.PublicKey, secret));
        Assert.Equal(Hex("4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742"), secret);
    }

    [Fact]
    public void APublicKeyOfSmallOrderIsRefused()
    {
        using var mine = X25519KeyPair.Create();
        Assert.False(mine.TryAgree(new byte[32], new byte[32]));
        Assert.False(mine.TryAgree(Hex("0100000000000000000000000000000000000000000000000000000000000000"), new byte[32]));
    }

    [Fact]
    public void Ed25519SignsAsInRfc8032()
    {
        // Section 7.1, tests 1 and 2.
        using var first = Ed25519KeyPair.FromSeed(Hex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60"));
        Assert.Equal(Hex("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"), first.PublicKey.Data.ToArray());
        Assert.Equal(Hex("e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b"), first.Sign([]));
        using var second = Ed25519KeyPair.FromSeed(Hex("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb"));
        Assert.Equal(Hex("92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"), second.Sign([0x72]));
    }

    [Fact]
    public void ASignatureHoldsForItsMessageItsKeyAndNothingElse()
    {
        using var mine = Ed25519KeyPair.Create();
        using var other = Ed25519KeyPair.Create();
        byte[] message = [1, 2, 3];
        var signature = mine.Sign(message);
        Assert.True(mine.PublicKey.Verify(message, signature));
        Assert.False(other.PublicKey.Verify(message, signature));
        Assert.False(mine.PublicKey.Verify([1, 2, 4], signature));
        Assert.False(mine.PublicKey.Verify(message, signature.AsSpan(1)));
        signature[5] ^= 1;
        Assert.False(mine.PublicKey.Verify(message, signature));
    }

    [Fact]
    public void PeersWithRsaAndEcdsaKeysCanBeVerified()
    {
        byte[] message = [7, 7, 7];
        using var rsa = RSA.Create(2048);
        Assert.True(Key(KeyType.Rsa, rsa.ExportSubjectPublicKeyInfo()).Verify(message, rsa.SignData(message, HashAlgorithmName.SHA256, RSASignaturePadding.Pkcs1)));
        using var small = RSA.Create(1024);
        Assert.False(Key(KeyType.Rsa, small.ExportSubjectPublicKeyInfo()).Verify(message, small.SignData(message, HashAlgorithmName.SHA256, RSASignaturePadding.Pkcs1)));
        using var ecdsa = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        Assert.True(Key(KeyType.Ecdsa, ecdsa.ExportSubjectPublicKeyInfo()).Verify(message, ecdsa.SignData(message, HashAlgorithmName.SHA256, DSASignatureFormat.Rfc3279DerSequence)));
        Assert.False(Key(KeyType.Rsa, [1, 2, 3]).Verify(message, [1]));
    }

    [Fact]
    public void XSalsa20GivesTheKeyStreamOfItsAuthor()
    {
        // NaCl's stream test, continued with the reference of another implementation.
        var key = Hex("1b27556473e985d462cd51197a9a46c76009549eac6474f206c4ee0844f68389");
        var nonce = Hex("69696ee955b62b73cd62bda875fc73d68219e0036b7a0b37");
        var expected = Hex("eea6a7251c1e72916d11c2cb214d3c252539121d8e234e652d651fa4c8cff880309e645a74e9e0a60d8243acd9177ab51a1beb8d5a2f5d700c093c5e5585579625337bd3ab619d615760d8c5b224a85b1d0efe0eb8a7ee163abb0376529fcc09bab506c618e13ce777d82c3ae9d1a6f972d4160287cbfe60bf2130fc0a6ff6049d0a5c8a82f429231f008082e845d7e189d37f9ed2b464e6b919e6523a8c1210bd52a02a4c3fe406d3085f5068d1909eeeca6369abc981a42e87fe665583f0ab85ae71f6f84f528e");
        var whole = new byte[expected.Length];
        new XSalsa20(key, nonce).Transform(whole);
        Assert.Equal(expected, whole);

        for (var cut = 0; cut <= expected.Length; cut++)
        {
            var parts = new byte[expected.Length];
            var cipher = new XSalsa20(key, nonce);
            cipher.Transform(parts.AsSpan(0, cut));
            cipher.Transform(parts.AsSpan(cut));
            Assert.Equal(expected, parts);
        }
    }

    [Fact]
    public void ASwarmKeyIsReadInBothOfItsForms()
    {
        var bytes = Enumerable.Range(0, 32).Select(i => (byte)i).ToArray();
        Assert.True(PreSharedKey.TryParse($"/key/swarm/psk/1.0.0/\n/base16/\n{Convert.ToHexStringLower(bytes)}\n", out var hex));
        Assert.True(PreSharedKey.TryParse($"/key/swarm/psk/1.0.0/\r\n/base64/\r\n{Convert.ToBase64String(bytes)}", out var base64));
        Assert.Equal(hex.Key, base64.Key);
        Assert.DoesNotContain("00", hex.ToString(), StringComparison.Ordinal);
        Assert.False(PreSharedKey.TryParse("/key/swarm/psk/1.0.0/\n/base16/\n0011", out _));
        Assert.False(PreSharedKey.TryParse($"/key/swarm/psk/2.0.0/\n/base16/\n{Convert.ToHexString(bytes)}", out _));
    }

    // The certificates of libp2p's TLS specification.
    private const string Ed25519Certificate = "308201ae30820156a0030201020204499602d2300a06082a8648ce3d040302302031123010060355040a13096c69627032702e696f310a300806035504051301313020170d3735303130313133303030305a180f34303936303130313133303030305a302031123010060355040a13096c69627032702e696f310a300806035504051301313059301306072a8648ce3d020106082a8648ce3d030107034200040c901d423c831ca85e27c73c263ba132721bb9d7a84c4f0380b2a6756fd601331c8870234dec878504c174144fa4b14b66a651691606d8173e55bd37e381569ea37c307a3078060a2b0601040183a25a0101046a3068042408011220a77f1d92fedb59dddaea5a1c4abd1ac2fbde7d7b879ed364501809923d7c11b90440d90d2769db992d5e6195dbb08e706b6651e024fda6cfb8846694a435519941cac215a8207792e42849cccc6cd8136c6e4bde92a58c5e08cfd4206eb5fe0bf909300a06082a8648ce3d0403020346003043021f50f6b6c52711a881778718238f650c9fb48943ae6ee6d28427dc6071ae55e702203625f116a7a454db9c56986c82a25682f7248ea1cb764d322ea983ed36a31b77";
    private const string EcdsaCertificate = "308201f63082019da0030201020204499602d2300a06082a8648ce3d040302302031123010060355040a13096c69627032702e696f310a300806035504051301313020170d3735303130313133303030305a180f34303936303130313133303030305a302031123010060355040a13096c69627032702e696f310a300806035504051301313059301306072a8648ce3d020106082a8648ce3d030107034200040c901d423c831ca85e27c73c263ba132721bb9d7a84c4f0380b2a6756fd601331c8870234dec878504c174144fa4b14b66a651691606d8173e55bd37e381569ea381c23081bf3081bc060a2b0601040183a25a01010481ad3081aa045f0803125b3059301306072a8648ce3d020106082a8648ce3d03010703420004bf30511f909414ebdd3242178fd290f093a551cf75c973155de0bb5a96fedf6cb5d52da7563e794b512f66e60c7f55ba8a3acf3dd72a801980d205e8a1ad29f2044730450220064ea8124774caf8f50e57f436aa62350ce652418c019df5d98a3ac666c9386a022100aa59d704a931b5f72fb9222cb6cc51f954d04a4e2e5450f8805fe8918f71eaae300a06082a8648ce3d04030203470030440220799395b0b6c1e940a7e4484705f610ab51ed376f19ff9d7c16757cfbf61b8d4302206205c03fbb0f95205c779be86581d3e31c01871ad5d1f3435bcf375cb0e5088a";
    private const string MismatchedCertificate = "308201f73082019da0030201020204499602d2300a06082a8648ce3d040302302031123010060355040a13096c69627032702e696f310a300806035504051301313020170d3735303130313133303030305a180f34303936303130313133303030305a302031123010060355040a13096c69627032702e696f310a300806035504051301313059301306072a8648ce3d020106082a8648ce3d030107034200040c901d423c831ca85e27c73c263ba132721bb9d7a84c4f0380b2a6756fd601331c8870234dec878504c174144fa4b14b66a651691606d8173e55bd37e381569ea381c23081bf3081bc060a2b0601040183a25a01010481ad3081aa045f0803125b3059301306072a8648ce3d020106082a8648ce3d03010703420004bf30511f909414ebdd3242178fd290f093a551cf75c973155de0bb5a96fedf6cb5d52da7563e794b512f66e60c7f55ba8a3acf3dd72a801980d205e8a1ad29f204473045022100bb6e03577b7cc7a3cd1558df0da2b117dfdcc0399bc2504ebe7de6f65cade72802206de96e2a5be9b6202adba24ee0362e490641ac45c240db71fe955f2c5cf8df6e300a06082a8648ce3d0403020348003045022100e847f267f43717358f850355bdcabbefb2cfbf8a3c043b203a14788a092fe8db022027c1d04a2d41fd6b57a7e8b3989e470325de4406e52e084e34a3fd56eef0d0df";

    [Theory]
    [InlineData(Ed25519Certificate, "12D3KooWM6CgA9iBFZmcYAHA6A2qvbAxqfkmrYiRQuz3XEsk4Ksv")]
    [InlineData(EcdsaCertificate, "QmfXbAwNjJLXfesgztEHe8HwgVDCMMpZ9Eax1HYq6hn9uE")]
    public void ACertificateOfTheSpecificationProvesItsPeer(string hex, string peer)
    {
        using var certificate = X509CertificateLoader.LoadCertificate(Hex(hex));
        Assert.Equal(peer, PeerCertificate.Verify(certificate, TimeProvider.System).ToString());
    }

    [Fact]
    public void ACertificateWhoseIdentityDidNotSignItIsRefused()
    {
        using var certificate = X509CertificateLoader.LoadCertificate(Hex(MismatchedCertificate));
        var refused = Assert.Throws<PeerProtocolException>(() => PeerCertificate.Verify(certificate, TimeProvider.System));
        Assert.Contains("not signed", refused.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void AnyChangedByteOfACertificateIsNoticed()
    {
        var bytes = Hex(Ed25519Certificate);
        for (var i = 0; i < bytes.Length; i++)
        {
            var changed = bytes.ToArray();
            changed[i] ^= 0x01;
            Assert.ThrowsAny<Exception>(() =>
            {
                try
                {
                    using var certificate = X509CertificateLoader.LoadCertificate(changed);
                    PeerCertificate.Verify(certificate, TimeProvider.System);
                }
                catch (Exception e) when (e is not PeerProtocolException and not CryptographicException)
                {
                    Assert.Fail($"byte {i}: {e}");
                }
            });
        }
    }

    [Fact]
    public void ACertificateMadeHereProvesThisPeer()
    {
        using var identity = Ed25519KeyPair.Create();
        using var certificate = PeerCertificate.Create(identity, TimeProvider.System);
        Assert.Equal(identity.PeerId, PeerCertificate.Verify(certificate, TimeProvider.System));
    }

    private static PublicKey Key(KeyType type, byte[] data) => new(type, data);

    private static byte[] Hex(string hex) => Convert.FromHexString(hex);
}
