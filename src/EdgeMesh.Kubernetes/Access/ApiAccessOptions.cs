using System.Net.Sockets;

namespace EdgeMesh.Kubernetes.Access;

/// <summary>Which API server, and how: what <see cref="KubeConfigPath"/> leads to, else <see cref="Master"/>, else the
/// <see cref="MetaServer"/>, else that of the cluster in which this process is a pod.</summary>
public sealed record ApiAccessOptions
{
    /// <summary>URL of an API server; empty: not set. Overrides the server named in the kubeconfig.</summary>
    public string Master { get; init; } = "";

    /// <summary>Path of a kubeconfig; empty: not set.</summary>
    public string KubeConfigPath { get; init; } = "";

    /// <summary>Null: no metaServer is asked.</summary>
    public MetaServerOptions? MetaServer { get; init; }

    /// <summary>Requests per second, averaged; 0 or less: no limit.</summary>
    public double Qps { get; init; } = 100;

    public int Burst { get; init; } = 200;

    /// <summary>This agent's node, whose labels are read where the source has Node objects; empty: not known.</summary>
    public string NodeName { get; init; } = "";

    /// <summary>Which kind tells the endpoints. Null: EndpointSlices from an API server, Endpoints from a metaServer,
    /// because current metaServers corrupt listed EndpointSlices.</summary>
    public bool? UseEndpointSlices { get; init; }

    /// <summary>Everything that has a name is wanted: headless services' endpoints too, and namespaces.</summary>
    public bool ForNames { get; init; }

    public Func<string, string?> Environment { get; init; } = System.Environment.GetEnvironmentVariable;

    /// <summary>Whether this machine's clock is kept right by anybody. Where it is not, it alone refuses no server's certificate.</summary>
    public Func<bool> IsClockSynchronised { get; init; } = () => true;

    /// <summary>Shared by all accesses that are made of these options.</summary>
    internal CertificateClock Clock { get; } = new();

    public string ServiceAccountDirectory { get; init; } = "/var/run/secrets/kubernetes.io/serviceaccount";

    /// <summary>Called for each socket before it connects, so that the agent can put its mark on its own packets.</summary>
    public Action<Socket>? OnSocket { get; init; }
}

public sealed record MetaServerOptions
{
    private const string PlainScheme = "http://";

    /// <summary>URL as configured; see <see cref="Address"/>.</summary>
    public string Server { get; init; } = "http://127.0.0.1:10550";

    /// <summary>HTTPS with a client certificate and the service account's token.</summary>
    public bool RequireAuthorization { get; init; }

    /// <summary>Where it is asked. With authorization a metaServer speaks HTTPS at the same port, and a token goes over nothing
    /// else, whatever scheme is configured.</summary>
    public string Address => RequireAuthorization && Server.StartsWith(PlainScheme, StringComparison.OrdinalIgnoreCase)
        ? string.Concat("https://", Server.AsSpan(PlainScheme.Length))
        : Server;

    public bool InsecureSkipTlsVerify { get; init; }

    public string TlsCaFile { get; init; } = "/etc/edgemesh/metaserver/rootCA.crt";

    public string TlsCertFile { get; init; } = "/etc/edgemesh/metaserver/server.crt";

    public string TlsPrivateKeyFile { get; init; } = "/etc/edgemesh/metaserver/server.key";
}

/// <summary>The access to an API server cannot be set up. The message says which file or setting, and what to do.</summary>
public sealed class ApiAccessException(string message, Exception? inner = null) : Exception(message, inner);
