using System.Net;
using EdgeMesh.Kubernetes;
using EdgeMesh.Kubernetes.Access;
using EdgeMesh.Testing.ApiServer;
using Xunit;

namespace EdgeMesh.Tests.Kubernetes;

/// <summary>What the access is made of changes while the agent runs.</summary>
public sealed class AccessChangeTests : IDisposable
{
    private static readonly DateTime LongAgo = new(2026, 1, 1, 0, 0, 0, DateTimeKind.Utc);

    private readonly TemporaryFolder _folder = new();
    private readonly TestCertificates _certificates = new();

    public void Dispose()
    {
        _folder.Dispose();
        _certificates.Dispose();
    }

    [Fact]
    public async Task AKubeconfigThatNamesAnotherServerAndItsCaLeadsThereWithoutARestart()
    {
        using var others = new TestCertificates();
        await using var first = await TlsServerAsync(_certificates, "web");
        await using var second = await TlsServerAsync(others, "api");
        await using var running = Run(KubeConfig(first, _certificates, _certificates.ClientPem("agent")));
        await running.SeesAsync(facts => facts.Services.Count == 1);

        KubeConfig(second, others, others.ClientPem("agent"));

        await running.SeesAsync(facts => facts.Services.Keys.Single().Name == "api");
        Assert.StartsWith(second.Url, running.Source.Description, StringComparison.Ordinal);
        await RunningSource.UntilAsync(() => first.OpenWatches == 0, "nothing of the old server is watched any more");
    }

    [Fact]
    public async Task AKubeconfigOfASecretIsSeenToChangeAlthoughOnlyALinkOnTheWayDoes()
    {
        await using var first = await TlsServerAsync(_certificates, "web");
        await using var second = await TlsServerAsync(_certificates, "api");
        foreach (var (version, server) in ((string, TestApiServer)[])[("..1", first), ("..2", second)])
        {
            Directory.CreateDirectory(Path.Combine(_folder.Path, version));
            File.Move(KubeConfig(server, _certificates, _certificates.ClientPem("agent")), Path.Combine(_folder.Path, version, "config"));
        }

        var data = Path.Combine(_folder.Path, "..data");
        var config = Path.Combine(_folder.Path, "config");
        Directory.CreateSymbolicLink(data, "..1");
        File.CreateSymbolicLink(config, Path.Combine("..data", "config"));
        await using var running = Run(config);
        await running.SeesAsync(facts => facts.Services.Keys.Single().Name == "web");

        Directory.CreateSymbolicLink(data + ".new", "..2");
        // As kubelet does it: a rename over the old link, which File.Move refuses for links to folders.
        using (var rename = System.Diagnostics.Process.Start("mv", ["-T", data + ".new", data]))
            await rename.WaitForExitAsync(TestContext.Current.CancellationToken);

        await running.SeesAsync(facts => facts.Services.Keys.Single().Name == "api");
    }

    [Fact]
    public async Task ABrokenKubeconfigIsNamedOnceAndTheOldOneGoesOnToCount()
    {
        var log = new LogLines();
        await using var server = await TlsServerAsync(_certificates, "web");
        var config = KubeConfig(server, _certificates, _certificates.ClientPem("agent"));
        await using var running = Run(config, log);
        await running.SeesAsync(facts => facts.Services.Count == 1);

        await File.WriteAllTextAsync(config, "users: [", TestContext.Current.CancellationToken);
        await RunningSource.UntilAsync(() => Told(log) > 0, "it is told");
        server.Put(Sample.Service("more"));
        await running.SeesAsync(facts => facts.Services.Count == 2);

        KubeConfig(server, _certificates, _certificates.ClientPem("agent"));
        server.DropConnections();
        server.Put(Sample.Service("most"));
        await running.SeesAsync(facts => facts.Services.Count == 3);
        Assert.Equal(1, Told(log));
    }

    [Fact]
    public async Task AClientCertificateIsReadAgainWhenTheServerRefusesItHoweverOldItsFileSeems()
    {
        await using var server = await TlsServerAsync(_certificates, "web");
        var refused = 0;
        server.Always("services", context =>
        {
            if (context.Connection.ClientCertificate?.Subject != "CN=after")
            {
                Interlocked.Increment(ref refused);
                return Misbehave.Status(401)(context);
            }

            server.Always("services", null);
            return Misbehave.Status(503)(context);
        });
        var (certificate, key) = _certificates.ClientPem("before");
        var files = (Certificate: _folder.Write("client.crt", certificate), Key: _folder.Write("client.key", key));
        Date(files.Certificate, files.Key);
        await using var running = Run(KubeConfig(server, _certificates, "client-certificate: client.crt, client-key: client.key"));
        await RunningSource.UntilAsync(() => Volatile.Read(ref refused) > 0, "the first certificate is refused");

        (certificate, key) = _certificates.ClientPem("after");
        _folder.Write("client.key", key);
        _folder.Write("client.crt", certificate);
        Date(files.Certificate, files.Key);
        await running.SeesAsync(facts => facts.Services.Count == 1);
    }

    private static int Told(LogLines log) => log.Lines.Count(line => line.Text.Contains("the agent goes on with what it said before", StringComparison.Ordinal));

    private static void Date(params string[] files)
    {
        foreach (var file in files)
            File.SetLastWriteTimeUtc(file, LongAgo);
    }

    private static RunningSource Run(string config, LogLines? log = null) => new(
        new ApiServerSource(
            ApiAccess.Resolve(new() { KubeConfigPath = config }, TimeProvider.System), new() { KubeConfigPath = config }, Sample.Quick, TimeProvider.System, log ?? new LogLines()));

    private static async Task<TestApiServer> TlsServerAsync(TestCertificates certificates, string service)
    {
        var server = await TestApiServer.StartAsync(new() { Certificate = certificates.Server("127.0.0.1"), ClientCa = certificates.Ca });
        server.Put(Sample.Service(service));
        return server;
    }

    private string KubeConfig(TestApiServer server, TestCertificates certificates, (string Certificate, string Key) client) => KubeConfig(
        server, certificates, $"client-certificate-data: {Base64(client.Certificate)}, client-key-data: {Base64(client.Key)}");

    private string KubeConfig(TestApiServer server, TestCertificates certificates, string user) => _folder.Write("config", $$"""
        current-context: here
        contexts: [{name: here, context: {cluster: k, user: u} }]
        clusters: [{name: k, cluster: {server: "{{server.Url}}", certificate-authority-data: {{Base64(certificates.CaPem)}} } }]
        users: [{name: u, user: { {{user}} } }]
        """);

    private static string Base64(string text) => Convert.ToBase64String(System.Text.Encoding.UTF8.GetBytes(text));
}
