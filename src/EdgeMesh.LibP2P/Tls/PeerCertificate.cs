using System.Formats.Asn1;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using EdgeMesh.LibP2P.Addresses;
using EdgeMesh.LibP2P.Cryptography;
using PublicKey = EdgeMesh.LibP2P.Cryptography.PublicKey;

namespace EdgeMesh.LibP2P.Tls;

/// <summary>
/// The self-signed certificate that carries a peer's identity through TLS:
/// extension 1.3.6.1.4.1.53594.1.1 = SEQUENCE { OCTET STRING public key protobuf, OCTET STRING signature over
/// "libp2p-tls-handshake:" + the certificate's SubjectPublicKeyInfo }.
/// </summary>
public static class PeerCertificate
{
    private const string ExtensionOid = "1.3.6.1.4.1.53594.1.1";
    private const int MaxExtension = 4096;

    /// <summary>A fresh certificate with a key of its own on P-256, which every TLS 1.3 library has.</summary>
    public static X509Certificate2 Create(Ed25519KeyPair identity, TimeProvider time)
    {
        using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        var writer = new AsnWriter(AsnEncodingRules.DER);
        using (writer.PushSequence())
        {
            writer.WriteOctetString(identity.PublicKey.ToProtobuf());
            writer.WriteOctetString(identity.Sign(Signed(key.ExportSubjectPublicKeyInfo())));
        }

        var request = new CertificateRequest(new X500DistinguishedName("O=libp2p.io"), key, HashAlgorithmName.SHA256);
        request.CertificateExtensions.Add(new X509Extension(ExtensionOid, writer.Encode(), critical: true));
        var now = time.GetUtcNow();
        // An hour back for clocks that are behind; the certificate lives as long as the process.
        return request.CreateSelfSigned(now.AddHours(-1), now.AddYears(100));
    }

    /// <summary>Whose certificate it is; the caller still has to compare that with who was expected.</summary>
    /// <exception cref="PeerProtocolException">The certificate is out of its time, not signed by itself, or does not prove an identity.</exception>
    public static PeerId Verify(X509Certificate2 certificate, TimeProvider time)
    {
        try
        {
            return Read(certificate, time);
        }
        // Fields are read when they are asked for, and with whatever the platform's code meets with in them.
        catch (Exception e) when (e is not (PeerProtocolException or OutOfMemoryException))
        {
            throw new PeerProtocolException("the peer's certificate is malformed", e);
        }
    }

    private static PeerId Read(X509Certificate2 certificate, TimeProvider time)
    {
        var now = time.GetUtcNow();
        if (now < new DateTimeOffset(certificate.NotBefore) || now > new DateTimeOffset(certificate.NotAfter))
            throw new PeerProtocolException("the peer's certificate is not valid at this time; compare the clocks");
        if (!IsSelfSigned(certificate))
            throw new PeerProtocolException("the peer's certificate is not signed by its own key");
        var (key, signature) = ReadExtension(certificate);
        if (!key.Verify(Signed(certificate.PublicKey.ExportSubjectPublicKeyInfo()), signature))
            throw new PeerProtocolException("the peer has not signed its certificate's key with its identity");
        return PeerId.FromPublicKey(key);
    }

    private static (PublicKey Key, byte[] Signature) ReadExtension(X509Certificate2 certificate)
    {
        var extension = certificate.Extensions.FirstOrDefault(e => e.Oid?.Value == ExtensionOid)
            ?? throw new PeerProtocolException("the peer's certificate carries no libp2p identity");
        try
        {
            if (extension.RawData.Length <= MaxExtension)
            {
                var sequence = new AsnReader(extension.RawData, AsnEncodingRules.DER).ReadSequence();
                var message = sequence.ReadOctetString();
                var signature = sequence.ReadOctetString();
                if (PublicKey.TryParse(message, out var key))
                    return (key, signature);
            }
        }
        catch (AsnContentException)
        {
            // Said below.
        }

        throw new PeerProtocolException("the identity in the peer's certificate is malformed");
    }

    /// <summary>The signature is checked by hand: .NET checks it only while it builds a chain to a root, of which there is none.</summary>
    private static bool IsSelfSigned(X509Certificate2 certificate)
    {
        try
        {
            var outer = new AsnReader(certificate.RawDataMemory, AsnEncodingRules.DER).ReadSequence();
            var signed = outer.ReadEncodedValue();
            var algorithm = outer.ReadSequence().ReadObjectIdentifier();
            var signature = outer.ReadBitString(out _);
            if (!certificate.SubjectName.RawData.AsSpan().SequenceEqual(certificate.IssuerName.RawData))
                return false;
            switch (algorithm)
            {
                case "1.2.840.10045.4.3.2":
                case "1.2.840.10045.4.3.3":
                    using (var ecdsa = certificate.GetECDsaPublicKey())
                    {
                        var hash = algorithm.EndsWith('2') ? HashAlgorithmName.SHA256 : HashAlgorithmName.SHA384;
                        return ecdsa?.VerifyData(signed.Span, signature, hash, DSASignatureFormat.Rfc3279DerSequence) == true;
                    }

                case "1.2.840.113549.1.1.11":
                    using (var rsa = certificate.GetRSAPublicKey())
                        return rsa?.VerifyData(signed.Span, signature, HashAlgorithmName.SHA256, RSASignaturePadding.Pkcs1) == true;
                case "1.3.101.112":
                    return Ed25519KeyPair.Verify(certificate.GetPublicKey(), signed.Span, signature);
                default:
                    return false;
            }
        }
        catch (Exception e) when (e is AsnContentException or CryptographicException)
        {
            return false;
        }
    }

    private static byte[] Signed(ReadOnlySpan<byte> publicKeyInfo) => [.. "libp2p-tls-handshake:"u8, .. publicKeyInfo];
}
