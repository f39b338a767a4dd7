using System.Collections.Immutable;
using System.Globalization;
using System.Net;
using System.Net.Security;
using System.Net.Sockets;
using System.Security.Authentication;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;

namespace EdgeMesh.Kubernetes.Access;

/// <summary>Which API server, and how it is reached: the answer to <see cref="ApiAccessOptions"/>.</summary>
internal sealed class ApiAccess
{
    private const string MetaServerSecurity = "kubeAPIConfig.metaServer.security";
    private static readonly TimeSpan ConnectTimeout = TimeSpan.FromSeconds(10);

    private readonly TimeProvider _time;
    private readonly ApiAccessOptions _options;
    private volatile string? _refusal;
    private volatile string? _clockNotice;

    private ApiAccess(Uri server, string description, ApiAccessOptions options, TimeProvider time)
    {
        _time = time;
        _options = options;
        Server = server;
        Description = description;
        Configured = ConfiguredBy(options);
    }

    public Uri Server { get; }

    public string Description { get; }

    public bool IsMetaServer { get; private init; }

    public BearerToken? Token { get; private init; }

    /// <summary>A program that gives the credentials; null: none is needed.</summary>
    public ExecPlugin? Exec { get; private init; }

    /// <summary>What an operator should put right although it works.</summary>
    public ImmutableArray<string> Warnings { get; private init; } = [];

    /// <summary>Until when the certificates count that are in use now.</summary>
    public ImmutableArray<AccessExpiry> Expiries
    {
        get
        {
            var found = ImmutableArray.CreateBuilder<AccessExpiry>(2);
            if (Certificate is not null)
            {
                found.Add(new("client", $"The client certificate for {Description}", new DateTimeOffset(Certificate.Get().NotAfter), "have it renewed; the agent takes the new one from the same place, without a restart"));
            }

            // One of several is enough: the old one stays in a bundle while the new one is rolled out.
            if (Roots is not null && !SkipVerify)
            {
                found.Add(new("ca", $"The CA certificate for {Description}", new DateTimeOffset(Roots.Max(root => root.NotAfter)), "put the new one beside it, in the same place"));
            }

            return found.ToImmutable();
        }
    }

    public ClusterIdentity Identity => new(Configured, Server.ToString(), Fingerprint(Roots));

    private string Configured { get; }

    private X509Certificate2Collection? Roots { get; init; }

    private bool SkipVerify { get; init; }

    private string? ServerName { get; init; }

    private Uri? Proxy { get; init; }

    private CertificateFile? Certificate { get; init; }

    /// <summary>Files that say which server this is and whom to take for it; each may be replaced while the agent runs.</summary>
    private ImmutableArray<string> Files { get; init; } = [];

    private ImmutableArray<(DateTime, long)> FilesThen { get; init; } = [];

    /// <summary>Why a server's certificate was last not accepted; null: none was refused.</summary>
    public string? Refusal => _refusal;

    /// <summary>That a server was accepted although this node's clock is against it; null: the clock had no say, or agrees.</summary>
    public string? ClockNotice => _clockNotice;

    public bool HasCredentials => Token is not null || Certificate is not null || Exec is not null;

    /// <summary>Whether the files that this was made of are others now. Then it wants to be resolved again.</summary>
    public bool IsOutdated => !FilesThen.SequenceEqual(Stamps(Files));

    /// <summary>Whether connections of one may go on where the other counts.</summary>
    public bool LeadsWhere(ApiAccess other) =>
        Server == other.Server && SkipVerify == other.SkipVerify && ServerName == other.ServerName && Proxy == other.Proxy
        && (Roots?.Select(root => root.Thumbprint) ?? []).Order().SequenceEqual((other.Roots?.Select(root => root.Thumbprint) ?? []).Order());

    /// <summary>The server does not accept the credentials: looks for another client certificate.</summary>
    /// <returns>Whether there is one.</returns>
    public bool RenewCertificate() => Certificate?.Renew() == true;

    /// <exception cref="ApiAccessException"/>
    public static ApiAccess Resolve(ApiAccessOptions options, TimeProvider time)
    {
        if (options.KubeConfigPath.Length > 0)
        {
            // Looked at before they are read: what changes meanwhile is seen the next time.
            var then = Stamps([options.KubeConfigPath]);
            return FromKubeConfig(KubeConfig.Load(options.KubeConfigPath), then, options, time);
        }

        if (options.Master.Length > 0)
        {
            var server = ServerUri(options.Master, "kubeAPIConfig.master");
            return new(server, $"{server} (master)", options, time);
        }

        return options.MetaServer is { } meta ? FromMetaServer(meta, options, time) : InCluster(options, time);
    }

    /// <summary>As much of <see cref="Identity"/> as can be told even where <see cref="Resolve"/> fails.</summary>
    public static ClusterIdentity Identify(ApiAccessOptions options)
    {
        var configured = ConfiguredBy(options);
        string? server = null;
        try
        {
            if (options.KubeConfigPath.Length > 0)
            {
                var config = KubeConfig.LoadCluster(options.KubeConfigPath);
                server = ServerOf(config, options.Master).ToString();
                return new(configured, server, Fingerprint(config.CertificateAuthority is { } ca ? AccessFiles.Roots(ca) : null));
            }

            if (options.Master.Length > 0)
            {
                server = ServerUri(options.Master, "kubeAPIConfig.master").ToString();
                return new(configured, server, Fingerprint(null));
            }

            if (options.MetaServer is { } meta)
            {
                server = MetaServerUri(meta).ToString();
                return new(configured, server, Fingerprint(MetaServerRoots(meta)));
            }

            server = InClusterUri(options).ToString();
            return new(configured, server, Fingerprint(InClusterRoots(options)));
        }
        catch (ApiAccessException)
        {
            return new(configured, server, null);
        }
    }

    public SocketsHttpHandler CreateHandler(Action<Socket>? onSocket)
    {
        var handler = new SocketsHttpHandler
        {
            AllowAutoRedirect = false,
            UseCookies = false,
            AutomaticDecompression = DecompressionMethods.None,
            ConnectTimeout = ConnectTimeout,
            PooledConnectionIdleTimeout = TimeSpan.FromSeconds(90),
            PooledConnectionLifetime = TimeSpan.FromMinutes(10),
            EnableMultipleHttp2Connections = true,
            KeepAlivePingDelay = TimeSpan.FromSeconds(20),
            KeepAlivePingTimeout = TimeSpan.FromSeconds(15),
            KeepAlivePingPolicy = HttpKeepAlivePingPolicy.WithActiveRequests,
            MaxResponseHeadersLength = 64,
            UseProxy = Proxy is not null,
            Proxy = Proxy is null ? null : new WebProxy(Proxy),
            ConnectCallback = async (context, cancellationToken) => await Connecting.ConnectAsync(context.DnsEndPoint, onSocket, cancellationToken),
        };
        handler.SslOptions = new()
        {
            EnabledSslProtocols = SslProtocols.Tls12 | SslProtocols.Tls13,
            RemoteCertificateValidationCallback = Verify,
            LocalCertificateSelectionCallback = Certificate is null && Exec is null ? null : (_, _, _, _, _) => Certificate?.Get() ?? Exec?.Certificate!,
        };
        return handler;
    }

    private static ApiAccess FromKubeConfig(KubeConfig config, ImmutableArray<(DateTime, long)> then, ApiAccessOptions options, TimeProvider time)
    {
        ImmutableArray<string> authority = config.CertificateAuthority?.File is { } caFile ? [caFile] : [];
        then = then.AddRange(Stamps(authority));
        var server = ServerOf(config, options.Master);
        if (config.ClientCertificate is null != config.ClientKey is null)
        {
            throw new ApiAccessException($"kubeconfig {config.Path} gives a client certificate or a client key but not both: add the other one");
        }

        return new(server, $"{server} (kubeconfig {config.Path})", options, time)
        {
            Files = [options.KubeConfigPath, .. authority],
            FilesThen = then,
            Exec = config.Exec is { } exec && config.Token is null && config.TokenFile is null && config.ClientCertificate is null ? new ExecPlugin(exec, time) : null,
            Roots = config.CertificateAuthority is { } ca ? AccessFiles.Roots(ca) : null,
            SkipVerify = config.InsecureSkipTlsVerify,
            ServerName = config.TlsServerName,
            Proxy = config.ProxyUrl is { } proxy ? ServerUri(proxy, $"proxy-url in kubeconfig {config.Path}") : null,
            Certificate = config.ClientCertificate is { } certificate ? new CertificateFile(certificate, config.ClientKey!, config.Path) : null,
            Token = config.TokenFile is null && config.Token is null ? null : TokenOf(config, time),
            Warnings = Filter(
                AccessFiles.SecretWarning("private key", config.ClientKey?.File),
                AccessFiles.SecretWarning("token file", config.TokenFile),
                config.HoldsSecret ? AccessFiles.SecretWarning("kubeconfig", config.Path) : null,
                config.InsecureSkipTlsVerify ? $"kubeconfig {config.Path} says insecure-skip-tls-verify: anybody on the way can pose as the API server; give certificate-authority instead" : null),
        };
    }

    private static ApiAccess InCluster(ApiAccessOptions options, TimeProvider time)
    {
        var server = InClusterUri(options);
        var token = BearerToken.OfFile(Path.Combine(options.ServiceAccountDirectory, "token"), "in-cluster service account", time);
        token.Get();
        ImmutableArray<string> files = [Path.Combine(options.ServiceAccountDirectory, "ca.crt")];
        var then = Stamps(files);
        return new(server, $"{server} (in-cluster service account)", options, time)
        {
            Files = files,
            FilesThen = then,
            Roots = InClusterRoots(options),
            Token = token,
        };
    }

    private static ApiAccess FromMetaServer(MetaServerOptions meta, ApiAccessOptions options, TimeProvider time)
    {
        var server = MetaServerUri(meta);
        if (!meta.RequireAuthorization)
        {
            return new(server, $"metaServer {server}", options, time) { IsMetaServer = true };
        }

        const string Setting = MetaServerSecurity;
        var token = BearerToken.OfFile(Path.Combine(options.ServiceAccountDirectory, "token"), "service account, wanted because of " + Setting + ".requireAuthorization", time);
        token.Get();
        ImmutableArray<string> files = meta.InsecureSkipTlsVerify ? [] : [meta.TlsCaFile];
        var then = Stamps(files);
        return new(server, $"metaServer {server}", options, time)
        {
            Files = files,
            FilesThen = then,
            IsMetaServer = true,
            SkipVerify = meta.InsecureSkipTlsVerify,
            Roots = MetaServerRoots(meta),
            Certificate = new CertificateFile(new(meta.TlsCertFile, null, Setting + ".tlsCertFile"), new(meta.TlsPrivateKeyFile, null, Setting + ".tlsPrivateKeyFile"), kubeConfig: null),
            Token = token,
            Warnings = Filter(
                AccessFiles.SecretWarning("private key", meta.TlsPrivateKeyFile),
                meta.InsecureSkipTlsVerify ? $"{Setting}.insecureSkipTLSVerify is on: anybody on the way can pose as the metaServer; give tlsCaFile instead" : null),
        };
    }

    private static string ConfiguredBy(ApiAccessOptions options) => (options.KubeConfigPath, options.Master) switch
    {
        ("", "") => options.MetaServer is { } meta ? $"metaServer {meta.Address}" : "in-cluster service account",
        ("", _) => $"master {options.Master}",
        (_, "") => $"kubeconfig {options.KubeConfigPath}",
        _ => $"master {options.Master} with kubeconfig {options.KubeConfigPath}",
    };

    private static string Fingerprint(X509Certificate2Collection? roots) =>
        roots is null ? "-" : Convert.ToHexString(SHA256.HashData(roots[0].RawData))[..16];

    private static Uri ServerOf(KubeConfig config, string master) =>
        master.Length > 0 ? ServerUri(master, "kubeAPIConfig.master") : ServerUri(config.Server, $"server in kubeconfig {config.Path}");

    private static Uri InClusterUri(ApiAccessOptions options)
    {
        var host = options.Environment("KUBERNETES_SERVICE_HOST");
        var port = options.Environment("KUBERNETES_SERVICE_PORT");
        return string.IsNullOrEmpty(host) || string.IsNullOrEmpty(port)
            ? throw new ApiAccessException("KUBERNETES_PORT is set, so this is a cloud node, but KUBERNETES_SERVICE_HOST or KUBERNETES_SERVICE_PORT is not: run in a pod with a service account, or set kubeAPIConfig.kubeConfig")
            : ServerUri($"https://{(host.Contains(':', StringComparison.Ordinal) ? $"[{host}]" : host)}:{port}", "KUBERNETES_SERVICE_HOST");
    }

    private static X509Certificate2Collection InClusterRoots(ApiAccessOptions options) =>
        AccessFiles.Roots(new(Path.Combine(options.ServiceAccountDirectory, "ca.crt"), null, "in-cluster service account"));

    private static Uri MetaServerUri(MetaServerOptions meta) => ServerUri(meta.Address, "kubeAPIConfig.metaServer.server");

    private static X509Certificate2Collection? MetaServerRoots(MetaServerOptions meta) =>
        meta.RequireAuthorization && !meta.InsecureSkipTlsVerify ? AccessFiles.Roots(new(meta.TlsCaFile, null, MetaServerSecurity + ".tlsCaFile")) : null;

    private static BearerToken TokenOf(KubeConfig config, TimeProvider time)
    {
        // As client-go does: a token file wins over a token.
        var token = config.TokenFile is { } file
            ? BearerToken.OfFile(file, $"tokenFile of kubeconfig {config.Path}", time)
            : new BearerToken(() => KubeConfig.Load(config.Path).Token ?? throw new ApiAccessException($"kubeconfig {config.Path} holds no token any more"), time);
        token.Get();
        return token;
    }

    private static ImmutableArray<(DateTime, long)> Stamps(ImmutableArray<string> files) =>
        [.. files.Select(AccessFiles.Stamp)];

    private static ImmutableArray<string> Filter(params ReadOnlySpan<string?> warnings)
    {
        var found = ImmutableArray.CreateBuilder<string>();
        foreach (var warning in warnings)
        {
            if (warning is not null)
            {
                found.Add(warning);
            }
        }

        return found.ToImmutable();
    }

    private static Uri ServerUri(string text, string setting)
    {
        if (text.Length > 0 && !text.Contains("://", StringComparison.Ordinal))
        {
            text = "http://" + text;
        }

        return Uri.TryCreate(text.TrimEnd('/') + "/", UriKind.Absolute, out var uri) && uri.Scheme is "http" or "https" && uri.UserInfo.Length == 0
            ? uri
            : throw new ApiAccessException($"{setting} is not a URL of an API server: write it like https://10.0.0.1:6443");
    }

    private bool Verify(object sender, X509Certificate? presented, X509Chain? chain, SslPolicyErrors errors)
    {
        if (SkipVerify)
        {
            return true;
        }

        if (presented is null)
        {
            return false;
        }

        using var certificate = new X509Certificate2(presented);
        if (ServerName is not null)
        {
            errors = certificate.MatchesHostname(ServerName)
                ? errors & ~SslPolicyErrors.RemoteCertificateNameMismatch
                : errors | SslPolicyErrors.RemoteCertificateNameMismatch;
        }

        if (errors.HasFlag(SslPolicyErrors.RemoteCertificateNameMismatch))
        {
            _refusal = $"its certificate is not one for {ServerName ?? Server.Host}";
            return false;
        }

        return (Roots is null && errors == SslPolicyErrors.None) || IsTrusted(certificate, chain);
    }

    private bool IsTrusted(X509Certificate2 certificate, X509Chain? presented)
    {
        using var own = new X509Chain();
        if (Roots is not null)
        {
            // Only the named CA counts, not the ones that the machine trusts.
            own.ChainPolicy.TrustMode = X509ChainTrustMode.CustomRootTrust;
            own.ChainPolicy.CustomTrustStore.AddRange(Roots);
        }

        own.ChainPolicy.RevocationMode = X509RevocationMode.NoCheck;
        own.ChainPolicy.DisableCertificateDownloads = true;
        foreach (var element in presented?.ChainElements ?? Enumerable.Empty<X509ChainElement>())
        {
            own.ChainPolicy.ExtraStore.Add(element.Certificate);
        }

        var now = _time.GetUtcNow();
        var authority = Fingerprint(Roots);
        X509Certificate2[] shown = [certificate, .. own.ChainPolicy.ExtraStore];
        var earliest = _options.Clock.Earliest(authority, CertificateClock.Built, Roots ?? []);
        own.ChainPolicy.VerificationTime = CertificateClock.JudgedAt(now, earliest, shown).LocalDateTime;
        var trusted = own.Build(certificate);
        if (!trusted && IsOnlyTheTime(own) && !_options.IsClockSynchronised())
        {
            own.Reset();
            own.ChainPolicy.VerificationTime = CertificateClock.WithoutClock(earliest, shown).LocalDateTime;
            trusted = own.Build(certificate);
        }

        if (trusted)
        {
            _options.Clock.Prove(authority, certificate);
            _clockNotice = certificate.NotBefore <= now.LocalDateTime && now.LocalDateTime <= certificate.NotAfter ? null : string.Create(
                CultureInfo.InvariantCulture,
                $"this node's clock says {now:yyyy-MM-dd HH:mm} UTC, which cannot be or which nobody keeps right (NTP), so it is not held against the certificate of {Server} ({Dates(certificate)}); set the clock, and renew the certificate if it has really ended");
            return true;
        }

        var flaws = string.Join(", ", own.ChainStatus.Select(status => status.Status).Distinct());
        _refusal = string.Create(CultureInfo.InvariantCulture, $"its certificate is not accepted: {flaws}{(flaws.Contains(nameof(X509ChainStatusFlags.NotTimeValid), StringComparison.Ordinal) ? $" (it {Dates(certificate)}, and this node's clock says {now:yyyy-MM-dd HH:mm} UTC)" : "")}");
        return false;
    }

    private static bool IsOnlyTheTime(X509Chain chain) => chain.ChainStatus.All(status => status.Status == X509ChainStatusFlags.NotTimeValid);

    private static string Dates(X509Certificate2 certificate) =>
        string.Create(CultureInfo.InvariantCulture, $"counts from {certificate.NotBefore.ToUniversalTime():yyyy-MM-dd} to {certificate.NotAfter.ToUniversalTime():yyyy-MM-dd}");
}
