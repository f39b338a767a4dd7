using System.Globalization;
using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;
using EdgeMesh.Testing.ApiServer;
using EdgeMesh.Testing.Lab;
using Xunit;

namespace EdgeMesh.HostTests.ApiSource;

/// <summary>How the agent is told where its API server is and who it is.</summary>
public enum AccessKind
{
    /// <summary>A kubeconfig with a token file, over plain HTTP.</summary>
    Token,

    /// <summary>A kubeconfig with a client certificate, over TLS.</summary>
    ClientCertificate,

    /// <summary>The service account of the pod, and the variables that kubelet sets.</summary>
    InCluster,

    /// <summary>Nothing: an edge node finds the metaServer at its default address.</summary>
    MetaServer,
}

/// <summary>A node whose agent learns its services from an API server.</summary>
internal sealed class ClusterNode : IAsyncDisposable
{
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(20);

    private readonly AccessKind _access;
    private readonly TestCertificates _certificates = new();

    private AgentOptions _options = new();

    private ClusterNode(AccessKind access) => _access = access;

    public HybridNode Node { get; private set; } = null!;

    public TestApiServer Api { get; private set; } = null!;

    public NamespaceLab Lab => Node.Lab;

    public AgentProcess Agent => Node.Agent;

    public AgentConfig Config => _options.Config;

    public string KubeConfig { get; private set; } = "";

    public string TokenFile { get; private set; } = "";

    public string CacheFile => Path.Combine(Lab.StateFolder, "facts.json");

    public static Task<ClusterNode> StartAsync(AccessKind access, params ManifestService[] services) => StartAsync(access, options => options, services);

    public static async Task<ClusterNode> StartAsync(AccessKind access, Func<AgentOptions, AgentOptions> change, params ManifestService[] services)
    {
        var node = new ClusterNode(access);
        node.Node = await HybridNode.StartAsync(KubeProxyRules.IptablesNft, async lab =>
        {
            await node.StartApiAsync(lab, new ApiStore());
            foreach (var service in services)
                node.Api.Put(service);
            return node._options = change(node.Options(lab));
        });
        return node;
    }

    /// <summary>The API server goes away, as in an upgrade of it.</summary>
    public ValueTask StopApiAsync() => Api.DisposeAsync();

    /// <summary>It comes back, with all that it had.</summary>
    public Task StartApiAsync() => StartApiAsync(Lab, Api.Store);

    /// <summary>Everything that is asked gets this instead, on new connections; null: rightly again.</summary>
    public void Misbehave(Misbehaviour? misbehaviour)
    {
        foreach (var kind in (string[])["services", "endpointslices", "endpoints", "nodes"])
        {
            Api.Always(kind, misbehaviour);
            Api.Always("watch:" + kind, misbehaviour);
        }

        Api.DropConnections();
    }

    public void WriteKubeConfig(string server, string cluster = "", string? user = null)
    {
        File.WriteAllText(KubeConfig, $$"""
            apiVersion: v1
            kind: Config
            current-context: here
            contexts: [{name: here, context: {cluster: k, user: u} }]
            clusters: [{name: k, cluster: {server: "{{server}}"{{(cluster.Length > 0 ? ", " + cluster : "")}} } }]
            users: [{name: u, user: { {{user ?? "tokenFile: " + TokenFile}} } }]
            """);
        File.SetUnixFileMode(KubeConfig, UnixFileMode.UserRead | UnixFileMode.UserWrite);
    }

    public async Task<JsonNode> StatusAsync()
    {
        var (code, body) = await Agent.GetAsync("/status");
        Assert.Equal(200, code);
        return JsonNode.Parse(body)!;
    }

    public Task UntilOriginAsync(string origin) => Eventually.SeesAsync(
        async () => (await StatusAsync())["source"]!.ToJsonString(), text => text.Contains($"\"origin\":\"{origin}\"", StringComparison.Ordinal), Patience, $"the facts are {origin}");

    /// <summary>Waits until a kind's fault, as status and a person see it, holds this text; null: until no kind has one.</summary>
    public Task UntilFaultAsync(string? part) => Eventually.SeesAsync(
        async () => string.Join('\n', (await StatusAsync())["source"]!["kinds"]!.AsArray().Select(k => (string?)k!["fault"]).OfType<string>()),
        faults => part is null ? faults.Length == 0 : faults.Contains(part, StringComparison.Ordinal),
        Patience,
        part is null ? "no fault of the source" : $"a fault of the source that says '{part}'");

    public Task UntilLoggedAsync(string part) => Eventually.SeesAsync(() => Agent.Log, log => log.Contains(part, StringComparison.Ordinal), Patience, $"a line that says '{part}'");

    public Task RestartAgentAsync() => Node.RestartAgentAsync(_options);

    /// <summary>Starts the agent again, where it is not expected to become ready.</summary>
    public async Task RestartWaitingAsync()
    {
        await Node.RestartAgentAsync(_options with { WaitUntilReady = false });
        await Eventually.SeesAsync(() => Agent.GetAsync("/livez"), seen => seen.Status == 200, Patience);
    }

    /// <summary>Lines of the log at Warning or above that hold the text.</summary>
    public int Warnings(string part) => Warnings(Agent.Log, part);

    public static int Warnings(string log, string part) => log.Split('\n').Count(line =>
        line.Contains(part, StringComparison.Ordinal)
        && (line.Contains("warn:", StringComparison.Ordinal) || line.Contains("fail:", StringComparison.Ordinal) || line.Contains("crit:", StringComparison.Ordinal)));

    public ValueTask DisposeAsync()
    {
        _certificates.Dispose();
        return Lab.DisposeAsync();
    }

    private async Task StartApiAsync(NamespaceLab lab, ApiStore store) => Api = _access switch
    {
        AccessKind.MetaServer => await lab.StartMetaServerAsync(new() { Store = store }),
        AccessKind.Token => await lab.StartApiServerAsync(new() { Store = store }),
        AccessKind.ClientCertificate => await lab.StartApiServerAsync(new() { Store = store, Certificate = _certificates.Server(LabAddresses.Outside), ClientCa = _certificates.Ca }),
        _ => await lab.StartApiServerAsync(new() { Store = store, Certificate = _certificates.Server(LabAddresses.Outside) }),
    };

    private AgentOptions Options(NamespaceLab lab)
    {
        KubeConfig = Path.Combine(lab.Folder, "kubeconfig");
        TokenFile = Path.Combine(lab.Folder, "token");
        var plain = new AgentOptions { Manifests = false, Environment = new Dictionary<string, string?> { ["KUBERNETES_PORT"] = null } };
        switch (_access)
        {
            case AccessKind.Token:
                Secret(TokenFile, "first");
                Api.Token = "first";
                WriteKubeConfig(Api.Url);
                return plain with { Config = new() { KubeApi = [$"kubeConfig: {KubeConfig}"] } };
            case AccessKind.ClientCertificate:
                var (certificate, key) = _certificates.ClientPem("agent");
                WriteKubeConfig(Api.Url, "certificate-authority-data: " + Base64(_certificates.CaPem), $"client-certificate-data: {Base64(certificate)}, client-key-data: {Base64(key)}");
                return plain with { Config = new() { KubeApi = [$"kubeConfig: {KubeConfig}"] } };
            case AccessKind.InCluster:
                return InCluster(lab);
            default:
                return plain;
        }
    }

    /// <summary>The account's folder has a fixed path: it is put there for the agent alone, in its own mount namespace
    /// (<c>ip netns exec</c> makes one).</summary>
    private AgentOptions InCluster(NamespaceLab lab)
    {
        var account = Directory.CreateDirectory(Path.Combine(lab.Folder, "account")).FullName;
        TokenFile = Path.Combine(account, "token");
        Secret(TokenFile, "first");
        File.WriteAllText(Path.Combine(account, "ca.crt"), _certificates.CaPem);
        Api.Token = "first";
        const string Folder = "/run/secrets/kubernetes.io/serviceaccount";
        return new()
        {
            Manifests = false,
            Launcher = ["sh", "-ec", $"mount -t tmpfs tmpfs /run; mkdir -p {Folder}; mount --bind {account} {Folder}; exec \"$@\"", "sh"],
            Environment = new Dictionary<string, string?>
            {
                ["KUBERNETES_PORT"] = $"tcp://{LabAddresses.Outside}:{NamespaceLab.ApiServerPort}",
                ["KUBERNETES_SERVICE_HOST"] = LabAddresses.Outside,
                ["KUBERNETES_SERVICE_PORT"] = NamespaceLab.ApiServerPort.ToString(CultureInfo.InvariantCulture),
            },
        };
    }

    private static void Secret(string path, string text)
    {
        File.WriteAllText(path, text);
        File.SetUnixFileMode(path, UnixFileMode.UserRead | UnixFileMode.UserWrite);
    }

    private static string Base64(string text) => Convert.ToBase64String(Encoding.UTF8.GetBytes(text));
}
