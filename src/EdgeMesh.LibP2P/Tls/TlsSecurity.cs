using System.Net.Security;
using System.Security.Authentication;
using System.Security.Cryptography.X509Certificates;
using EdgeMesh.LibP2P.Addresses;
using EdgeMesh.LibP2P.Cryptography;
using EdgeMesh.LibP2P.Yamux;

namespace EdgeMesh.LibP2P.Tls;

/// <summary>`/tls/1.0.0`: TLS 1.3 both ways authenticated by <see cref="PeerCertificate"/>. The muxer is agreed on by ALPN
/// where the peer can (libp2p's inlined muxer negotiation). Unlike Noise this has no form without I/O: .NET's TLS comes as a
/// stream.</summary>
public sealed class TlsSecurity : IDisposable
{
    /// <summary>The protocol's name for multistream-select.</summary>
    public const string Protocol = "/tls/1.0.0";

    private static readonly SslApplicationProtocol Libp2p = new("libp2p");
    private static readonly SslApplicationProtocol Yamux = new(YamuxSession.Protocol);

    private readonly TimeProvider _time;
    private readonly Lazy<SslStreamCertificateContext> _certificate;

    public TlsSecurity(Ed25519KeyPair identity, TimeProvider time)
    {
        _time = time;
        // Made at first use: a host that only speaks Noise needs none.
        _certificate = new(() => SslStreamCertificateContext.Create(PeerCertificate.Create(identity, time), additionalCertificates: null, offline: true));
    }

    /// <summary>Runs the handshake. The muxer is null if it has to be negotiated now.</summary>
    /// <exception cref="PeerProtocolException">The handshake failed, or the peer is not the expected one.</exception>
    public async Task<(Stream Stream, PeerId Peer, string? Muxer)> SecureAsync(Stream transport, bool dialer, PeerId? expected, CancellationToken cancellationToken)
    {
        var tls = new SslStream(transport, leaveInnerStreamOpen: false);
        PeerId? peer = null;
        PeerProtocolException? refused = null;
        try
        {
            if (dialer)
                await tls.AuthenticateAsClientAsync(ClientOptions(Judge), cancellationToken);
            else
                await tls.AuthenticateAsServerAsync(ServerOptions(Judge), cancellationToken);
        }
        catch (Exception e) when (e is AuthenticationException or IOException)
        {
            throw refused ?? new PeerProtocolException($"the TLS handshake failed: {e.Message}", e);
        }

        var muxer = tls.NegotiatedApplicationProtocol == Yamux ? YamuxSession.Protocol : null;
        return (tls, peer!, muxer);

        bool Judge(object sender, X509Certificate? certificate, X509Chain? chain, SslPolicyErrors errors)
        {
            try
            {
                if (certificate is not X509Certificate2 sent)
                    throw new PeerProtocolException("the peer sent no certificate");
                peer = PeerCertificate.Verify(sent, _time);
                if (expected is not null && !expected.Equals(peer))
                    throw new PeerProtocolException($"the peer is {peer}, expected was {expected}");
                return true;
            }
            catch (PeerProtocolException e)
            {
                refused = e;
                return false;
            }
        }
    }

    private SslClientAuthenticationOptions ClientOptions(RemoteCertificateValidationCallback judge) => new()
    {
        // No server name: the specification keeps it for later versions.
        TargetHost = "",
        ApplicationProtocols = [Yamux, Libp2p],
        ClientCertificateContext = _certificate.Value,
        EnabledSslProtocols = SslProtocols.Tls13,
        AllowTlsResume = false,
        CertificateChainPolicy = NoRoots(),
        RemoteCertificateValidationCallback = judge,
    };

    private SslServerAuthenticationOptions ServerOptions(RemoteCertificateValidationCallback judge) => new()
    {
        ApplicationProtocols = [Yamux, Libp2p],
        ServerCertificateContext = _certificate.Value,
        ClientCertificateRequired = true,
        EnabledSslProtocols = SslProtocols.Tls13,
        // A resumed session would come without the peer's certificate.
        AllowTlsResume = false,
        CertificateChainPolicy = NoRoots(),
        RemoteCertificateValidationCallback = judge,
    };

    /// <summary>There is no authority to ask, and nothing a peer names may be fetched.</summary>
    private static X509ChainPolicy NoRoots() => new()
    {
        TrustMode = X509ChainTrustMode.CustomRootTrust,
        DisableCertificateDownloads = true,
        RevocationMode = X509RevocationMode.NoCheck,
        VerificationFlags = X509VerificationFlags.AllFlags,
    };

    public void Dispose()
    {
        if (_certificate.IsValueCreated)
            _certificate.Value.TargetCertificate.Dispose();
    }
}
