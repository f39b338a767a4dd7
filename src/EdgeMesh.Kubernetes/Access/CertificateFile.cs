using System.Security.Cryptography.X509Certificates;

namespace EdgeMesh.Kubernetes.Access;

/// <summary>A certificate whose files may be replaced (kubelet and KubeEdge rotate them): read again when they change.</summary>
internal sealed class CertificateFile
{
    private readonly Lock _gate = new();
    private readonly string? _kubeConfig;
    private PemSource _certificate;
    private PemSource _key;
    private X509Certificate2 _loaded;
    private ((DateTime, long) Certificate, (DateTime, long) Key, (DateTime, long) KubeConfig) _stamp;

    /// <param name="kubeConfig">What names both, or holds them; null: the settings do.</param>
    public CertificateFile(PemSource certificate, PemSource key, string? kubeConfig)
    {
        _kubeConfig = kubeConfig;
        _certificate = certificate;
        _key = key;
        _stamp = Stamp();
        _loaded = AccessFiles.Certificate(certificate, key);
    }

    public X509Certificate2 Get()
    {
        lock (_gate)
        {
            var stamp = Stamp();
            if (stamp != _stamp)
            {
                try
                {
                    if (_kubeConfig is not null && KubeConfig.Load(_kubeConfig) is { ClientCertificate: { } certificate, ClientKey: { } key })
                    {
                        (_certificate, _key) = (certificate, key);
                    }

                    _loaded = AccessFiles.Certificate(_certificate, _key);
                    _stamp = stamp;
                }
                catch (ApiAccessException)
                {
                    // Caught in the middle of a rotation: the old one serves until the next connection.
                }
            }

            return _loaded;
        }
    }

    /// <returns>Whether it is another one than before.</returns>
    public bool Renew()
    {
        lock (_gate)
        {
            var before = _loaded.Thumbprint;
            _stamp = default;
            return Get().Thumbprint != before;
        }
    }

    private ((DateTime, long), (DateTime, long), (DateTime, long)) Stamp() => (Stamp(_certificate.File), Stamp(_key.File), Stamp(_kubeConfig));

    private static (DateTime, long) Stamp(string? file) => file is null ? default : AccessFiles.Stamp(file);
}
