using static EdgeMesh.Agent.Options.KeyKinds;

namespace EdgeMesh.Agent.Options;

internal static class KubeApiKeys
{
    public static readonly ConfigKey<string> ApiVersion = new("apiVersion", "text", ConfigSchema.ApiVersionValue, "Version of this schema; may be left out.",
        Where<string>(ValueReaders.Text, v => v == ConfigSchema.ApiVersionValue, "{} is not the version of this schema", $"write {ConfigSchema.ApiVersionValue}"), Quote);

    public static readonly ConfigKey<string> Kind = new("kind", "text", ConfigSchema.KindValue, "May be left out.",
        Where<string>(ValueReaders.Text, v => v == ConfigSchema.KindValue, "{} is another kind of file", $"this program reads kind {ConfigSchema.KindValue}"), Quote);

    public static readonly ConfigKey<string> Manifests = new("kubeAPIConfig.manifests", "absolute path", "",
        "A folder of YAML manifests that is the whole source of services and endpoints. Watched.",
        EmptyOrAbsolute(), Quote)
    {
        Reason = "lets the agent run on a machine that has no cluster, and in tests",
    };

    public static readonly ConfigKey<string> Master = new("kubeAPIConfig.master", "URL", "",
        "The API server; wins over the address in kubeConfig.", EmptyOrUrl(), Quote);

    public static readonly ConfigKey<string> KubeConfig = Text("kubeAPIConfig.kubeConfig", "", "Path of a kubeconfig file. What changes in it counts without a restart: server, CA, certificate, token. An exec program of client.authentication.k8s.io/v1 is run with 30 s of time, and again when what it gave expires or is refused.");

    public static readonly ConfigKey<int> Qps = Integer("kubeAPIConfig.qps", 100, 1, 100_000, "Requests a second to the API server, on average.");

    public static readonly ConfigKey<int> Burst = Integer("kubeAPIConfig.burst", 200, 1, 100_000, "Requests to the API server at once.");

    public static readonly ConfigKey<string> MetaServer = new("kubeAPIConfig.metaServer.server", "URL", "http://127.0.0.1:10550",
        "The metaServer of the edge node. With requireAuthorization the default is https.",
        Where<string>(ValueReaders.Text, IsHttpUrl, "wants an http or https URL, and this is {}", "write it like http://127.0.0.1:10550"), Quote);

    public static readonly ConfigKey<bool> MetaServerAuthorization = Boolean("kubeAPIConfig.metaServer.security.requireAuthorization", false,
        "Speak HTTPS to the metaServer, with the files below and the pod's token.");

    public static readonly ConfigKey<bool> MetaServerInsecure = Boolean("kubeAPIConfig.metaServer.security.insecureSkipTLSVerify", false,
        "Believe any certificate of the metaServer.");

    public static readonly ConfigKey<string> MetaServerCa = Text("kubeAPIConfig.metaServer.security.tlsCaFile", "/etc/edgemesh/metaserver/rootCA.crt", "Who signs the metaServer's certificate.");

    public static readonly ConfigKey<string> MetaServerCertificate = Text("kubeAPIConfig.metaServer.security.tlsCertFile", "/etc/edgemesh/metaserver/server.crt", "The agent's certificate.");

    public static readonly ConfigKey<string> MetaServerKey = Text("kubeAPIConfig.metaServer.security.tlsPrivateKeyFile", "/etc/edgemesh/metaserver/server.key", "The key of that certificate.");

    public static IReadOnlyList<ConfigKey> Root { get; } = [ApiVersion, Kind];

    public static IReadOnlyList<ConfigKey> All { get; } =
    [
        Manifests, Master, KubeConfig, Qps, Burst,
        MetaServer, MetaServerAuthorization, MetaServerInsecure, MetaServerCa, MetaServerCertificate, MetaServerKey,
        new ConfigKey<string>("kubeAPIConfig.contentType", "text", "application/json",
            "Accepted for EdgeMesh's sake: the agent always asks for JSON.", ValueReaders.Text, Quote) { Status = KeyStatus.NoEffect },
        new ConfigKey<string>("kubeAPIConfig.mode", "text", "", "Set by the Go agent itself; the agent finds out by itself.", ValueReaders.Text, Quote) { Status = KeyStatus.NoEffect },
        Boolean("kubeAPIConfig.deleteKubeConfig", false, "Delete the kubeconfig file once it has been read.").OfPart("kubeAPIConfig.deleteKubeConfig", null),
    ];

    private static bool IsHttpUrl(string text) =>
        Uri.TryCreate(text, UriKind.Absolute, out var uri) && uri.Scheme is ("http" or "https") && uri.Host.Length > 0;

    private static ValueReader<string> EmptyOrUrl() =>
        Where<string>(ValueReaders.Text, v => v.Length == 0 || IsHttpUrl(v), "wants an http or https URL, and this is {}", "write it like https://10.0.0.1:6443");

    private static ValueReader<string> EmptyOrAbsolute() =>
        Where<string>(ValueReaders.Text, v => v.Length == 0 || v[0] == '/', "wants an absolute path, and this is {}", "begin it with /");
}
