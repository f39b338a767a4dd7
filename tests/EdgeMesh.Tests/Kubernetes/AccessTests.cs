using System.Net;
using EdgeMesh.Kubernetes;
using EdgeMesh.Kubernetes.Access;
using EdgeMesh.Kubernetes.Watching;
using EdgeMesh.Testing.ApiServer;
using Xunit;

namespace EdgeMesh.Tests.Kubernetes;

public sealed class AccessTests : IDisposable
{
    private readonly TemporaryFolder _folder = new();
    private readonly TestCertificates _certificates = new();

    public void Dispose()
    {
        _folder.Dispose();
        _certificates.Dispose();
    }

    [Fact]
    public void MasterOrKubeconfigWinThenACloudNodeUsesItsServiceAccountAndAnEdgeNodeTheMetaServer()
    {
        Assert.Equal("http://10.0.0.1:8080/ (master)", Resolve(new() { Master = "10.0.0.1:8080" }).Description);
        Assert.Equal("metaServer http://127.0.0.1:10550/", Resolve(new() { MetaServer = new() }).Description);
        _folder.Write("ca.crt", _certificates.CaPem);
        _folder.Write("token", "secret");
        var cloud = Resolve(new() { Environment = n => n switch { "KUBERNETES_SERVICE_HOST" => "fd00::1", "KUBERNETES_SERVICE_PORT" => "443", _ => null }, ServiceAccountDirectory = _folder.Path });
        Assert.Equal("https://[fd00::1]/ (in-cluster service account)", cloud.Description);
        Assert.NotEqual(cloud.Identity, Resolve(new() { Master = "https://[fd00::1]" }).Identity);
    }

    [Fact]
    public async Task KubeconfigWithCertificateFilesBesideItReachesATlsServerThatWantsThem()
    {
        await using var server = await TlsServerAsync("127.0.0.1");
        var (certificate, key) = _certificates.ClientPem("agent");
        _folder.Write("client.crt", certificate);
        File.SetUnixFileMode(_folder.Write("client.key", key), UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.OtherRead);
        _folder.Write("ca.crt", _certificates.CaPem);
        var config = KubeConfig(server.Url, "certificate-authority: ca.crt", "client-certificate: client.crt, client-key: client.key");
        Assert.Contains("chmod 600", Assert.Single(Resolve(new() { KubeConfigPath = config }).Warnings), StringComparison.Ordinal);
        await WorksAsync(server, config);
    }

    [Fact]
    public async Task KubeconfigWithDataAndTokenAndServerNameWorksToo()
    {
        await using var server = await TlsServerAsync("api.example");
        server.Token = "t0ken";
        var (certificate, key) = _certificates.ClientPem("agent");
        var config = KubeConfig(server.Url, $"certificate-authority-data: {Base64(_certificates.CaPem)}, tls-server-name: api.example", $"client-certificate-data: {Base64(certificate)}, client-key-data: {Base64(key)}, token: t0ken");
        await WorksAsync(server, config);
    }

    [Fact]
    public void ATokenInAKubeconfigIsReadAgainWhenTheServerRefusesIt()
    {
        var token = Resolve(new() { KubeConfigPath = KubeConfig("https://127.0.0.1:1", "insecure-skip-tls-verify: true", "token: before") }).Token!;
        Assert.Equal("before", token.Get());
        KubeConfig("https://127.0.0.1:1", "insecure-skip-tls-verify: true", "token: after");
        Assert.Equal("before", token.Get());
        Assert.Equal("after", token.Get(refused: true));
    }

    [Fact]
    public void ACertificateThatEndsIsNamedAWeekBeforeAndItsSuccessorIsTakenWithoutARestart()
    {
        var now = new DateTimeOffset(2030, 1, 1, 0, 0, 0, TimeSpan.Zero);
        string Config(DateTimeOffset until)
        {
            var (certificate, key) = _certificates.ClientPem("agent", until);
            return KubeConfig("https://127.0.0.1:1", $"certificate-authority-data: {Base64(_certificates.CaPem)}", $"client-certificate-data: {Base64(certificate)}, client-key-data: {Base64(key)}");
        }

        var file = Config(now + TimeSpan.FromDays(7));
        File.SetLastWriteTimeUtc(file, now.UtcDateTime.AddDays(-1));
        var access = Resolve(new() { KubeConfigPath = file });
        Assert.Equal(["client", "ca"], access.Expiries.Select(expiry => expiry.Certificate));
        Assert.All(access.Expiries, expiry => Assert.Null(expiry.NoticeAt(now - TimeSpan.FromSeconds(1))));
        var client = access.Expiries[0];
        Assert.Contains("ends at 2030-01-08 00:00 UTC", client.NoticeAt(now), StringComparison.Ordinal);
        Assert.Contains("has ended at 2030-01-08 00:00 UTC", client.NoticeAt(now + TimeSpan.FromDays(7)), StringComparison.Ordinal);
        Assert.Contains("have it renewed", client.NoticeAt(now), StringComparison.Ordinal);

        Config(now + TimeSpan.FromDays(365));
        Assert.All(access.Expiries, expiry => Assert.Null(expiry.NoticeAt(now)));
    }

    [Fact]
    public async Task AServerOfAnotherCaOrAnotherNameIsRefused()
    {
        await using var server = await TlsServerAsync("api.example");
        using var others = new TestCertificates();
        var (certificate, key) = _certificates.ClientPem("agent");
        var user = $"client-certificate-data: {Base64(certificate)}, client-key-data: {Base64(key)}";
        foreach (var cluster in (string[])[$"certificate-authority-data: {Base64(others.CaPem)}, tls-server-name: api.example", $"certificate-authority-data: {Base64(_certificates.CaPem)}"])
        {
            await using var running = RunningSource.Of(server, change: o => o with { Master = "", KubeConfigPath = KubeConfig(server.Url, cluster, user) });
            await running.FaultAsync("services", "cannot reach");
            Assert.Empty(server.Requests);
        }

        await WorksAsync(server, KubeConfig(server.Url, "insecure-skip-tls-verify: true", user));
    }

    /// <summary>The certificate ends a year from now; the node's clock says other things, and nobody keeps it right or somebody does.</summary>
    [Theory]
    [InlineData(-50, false, true)]
    [InlineData(-50, true, true)]
    [InlineData(0, false, true)]
    [InlineData(20, false, true)]
    [InlineData(20, true, false)]
    public async Task ANodeWhoseClockNobodyKeepsRightGetsInWhateverItSays(int yearsAhead, bool synchronised, bool getsIn)
    {
        await using var server = await TlsServerAsync("127.0.0.1", until: TimeProvider.System.GetUtcNow().AddYears(1));
        var config = ConfigWithClientCertificate(server);
        var log = new LogLines();
        await using var running = RunningSource.Of(
            server, change: o => o with { Master = "", KubeConfigPath = config, IsClockSynchronised = () => synchronised }, logger: log, time: new ShiftedTime(yearsAhead));
        if (!getsIn)
        {
            await running.FaultAsync("services", "and this node's clock says");
            Assert.Empty(server.Requests);
            return;
        }

        await running.SeesAsync(f => f.Services.Count == 1);
        Assert.Equal(yearsAhead == 0, running.Source.Health.ClockNotice is null);
        if (yearsAhead != 0)
        {
            Assert.Contains("is not held against the certificate of https://127.0.0.1", running.Source.Health.ClockNotice, StringComparison.Ordinal);
            await RunningSource.UntilAsync(() => log.Lines.Any(line => line.Text.Contains("set the clock", StringComparison.Ordinal)), "the log says so");
        }
    }

    [Theory]
    [InlineData(0)]
    [InlineData(20)]
    [InlineData(-50)]
    public async Task ACertificateThatHadEndedBeforeAnythingElseThatIsKnownStaysRefusedWithoutAClock(int yearsAhead)
    {
        await using var server = await TlsServerAsync("127.0.0.1", until: new DateTimeOffset(2021, 1, 1, 0, 0, 0, TimeSpan.Zero));
        var config = ConfigWithClientCertificate(server);
        await using var running = RunningSource.Of(
            server, change: o => o with { Master = "", KubeConfigPath = config, IsClockSynchronised = () => false }, time: new ShiftedTime(yearsAhead));
        await running.FaultAsync("services", "NotTimeValid");
        Assert.Empty(server.Requests);
    }

    [Theory]
    [InlineData(20)]
    [InlineData(-50)]
    public async Task WithoutAClockAnotherAuthorityOrAnotherNameIsRefusedAsEver(int yearsAhead)
    {
        await using var server = await TlsServerAsync("api.example", until: TimeProvider.System.GetUtcNow().AddYears(1));
        using var others = new TestCertificates();
        foreach (var cluster in (string[])[$"certificate-authority-data: {Base64(others.CaPem)}, tls-server-name: api.example", $"certificate-authority-data: {Base64(_certificates.CaPem)}"])
        {
            await using var running = RunningSource.Of(
                server, change: o => o with { Master = "", KubeConfigPath = KubeConfig(server.Url, cluster, "token: t"), IsClockSynchronised = () => false }, time: new ShiftedTime(yearsAhead));
            await running.FaultAsync("services", "cannot reach");
            Assert.Empty(server.Requests);
        }
    }

    [Fact]
    public async Task ARotatedTokenIsReadAgainWhenTheServerRefusesTheOldOne()
    {
        await using var server = await TestApiServer.StartAsync();
        server.Put(Sample.Service("web"));
        server.Token = "first";
        var token = _folder.Write("token", "first\n");
        var config = KubeConfig(server.Url, "", $"tokenFile: {token}");
        await using var running = RunningSource.Of(server, change: o => o with { Master = "", KubeConfigPath = config });
        await running.SeesAsync(f => f.Services.Count == 1);
        server.Token = "second";
        File.WriteAllText(token, "second");
        server.DropConnections();
        server.Put(Sample.Service("api", "10.96.0.2"));
        await running.SeesAsync(f => f.Services.Count == 2);
        Assert.Contains(server.Requests, r => r.Authorization == "Bearer second");
    }

    [Fact]
    public async Task AMetaServerThatRequiresAuthorizationGetsCertificateAndToken()
    {
        await using var server = await TlsServerAsync("127.0.0.1", metaServer: true);
        server.Token = "account";
        server.Put(Sample.Endpoints("web"));
        _folder.Write("token", "account");
        var (certificate, key) = _certificates.ClientPem("edge");
        var options = new MetaServerOptions
        {
            Server = server.Url.Replace("https:", "http:", StringComparison.Ordinal),
            RequireAuthorization = true,
            TlsCaFile = _folder.Write("rootCA.crt", _certificates.CaPem),
            TlsCertFile = _folder.Write("server.crt", certificate),
            TlsPrivateKeyFile = _folder.Write("server.key", key),
        };
        await using var running = RunningSource.OfMetaServer(server, change: o => o with { MetaServer = options, ServiceAccountDirectory = _folder.Path });
        await running.SeesAsync(f => f.Services.Count == 1 && f.Endpoints.Count == 1);
    }

    [Theory]
    [InlineData("users: [{name: u, user: {exec: {command: aws}}}]", "exec")]
    [InlineData("users: [{name: u, user: {auth-provider: {name: gcp}}}]", "auth-provider")]
    [InlineData("users: [{name: u, user: {client-certificate: nowhere.crt, client-key: nowhere.key}}]", "nowhere.crt")]
    [InlineData("users: [{name: u, user: {client-key: a.key}}]", "not both")]
    [InlineData("users: [{name: u, user: {client-certificate-data: '%%', client-key-data: AA==}}]", "not base64")]
    [InlineData("users: [{name: u, user: {tokenFile: gone}}]", "does not exist")]
    [InlineData("users: []", "no user named 'u'")]
    [InlineData("users: [", "kubeconfig:")]
    public void AKubeconfigThatCannotWorkSaysWhereAndWhatToDo(string users, string part)
    {
        var path = _folder.Write("kubeconfig", $"current-context: c\ncontexts: [{{name: c, context: {{cluster: k, user: u}}}}]\nclusters: [{{name: k, cluster: {{server: 'https://10.0.0.1:6443'}}}}]\n{users}\n");
        var fault = Assert.Throws<ApiAccessException>(() => Resolve(new() { KubeConfigPath = path }));
        Assert.Contains(part, fault.Message, StringComparison.Ordinal);
        Assert.Contains(path, fault.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void AMissingKubeconfigAndAForgottenServiceAccountSayWhatToDo()
    {
        Assert.Contains("does not exist", Assert.Throws<ApiAccessException>(() => Resolve(new() { KubeConfigPath = "/nowhere/config" })).Message, StringComparison.Ordinal);
        Assert.Contains("KUBERNETES_SERVICE_HOST", Assert.Throws<ApiAccessException>(() => Resolve(new() { Environment = n => n == "KUBERNETES_PORT" ? "x" : null })).Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task NoMoreThanBurstAtOnceAndQpsAfterwards()
    {
        var bucket = new TokenBucket(50, 2, TimeProvider.System);
        var start = TimeProvider.System.GetTimestamp();
        for (var i = 0; i < 7; i++)
        {
            await bucket.TakeAsync(CancellationToken.None);
        }

        Assert.True(TimeProvider.System.GetElapsedTime(start) >= TimeSpan.FromMilliseconds(90));
    }

    [Fact]
    public void WaitsDoubleUpToTheLongestAndHalfOfThemIsChance()
    {
        var backoff = new Backoff(TimeSpan.FromSeconds(0.2), TimeSpan.FromSeconds(30), new Random(1));
        var waits = Enumerable.Range(0, 40).Select(_ => backoff.Next().TotalSeconds).ToList();
        Assert.InRange(waits[0], 0.1, 0.2);
        Assert.InRange(waits[3], 0.8, 1.6);
        Assert.All(waits.Skip(10), w => Assert.InRange(w, 15, 30));
        backoff.Reset();
        Assert.InRange(backoff.Next().TotalSeconds, 0.1, 0.2);
    }

    [Fact]
    public void TheAgentAsksForListAndWatchOfFiveKindsAndNothingElse() =>
        Assert.Equal(
            ["core/services: list,watch", "discovery.k8s.io/endpointslices: list,watch", "core/endpoints: list,watch", "core/nodes: list,watch", "core/namespaces: list,watch"],
            RequiredAccess.Rules.Select(r => r.ToString()));

    private static ApiAccess Resolve(ApiAccessOptions options) => ApiAccess.Resolve(options, TimeProvider.System);

    private static string Base64(string text) => Convert.ToBase64String(System.Text.Encoding.UTF8.GetBytes(text));

    private static async Task WorksAsync(TestApiServer server, string config)
    {
        await using var running = RunningSource.Of(server, change: o => o with { Master = "", KubeConfigPath = config });
        await running.SeesAsync(f => f.Services.Count == 1);
    }

    private string ConfigWithClientCertificate(TestApiServer server)
    {
        var (certificate, key) = _certificates.ClientPem("agent");
        return KubeConfig(server.Url, $"certificate-authority-data: {Base64(_certificates.CaPem)}", $"client-certificate-data: {Base64(certificate)}, client-key-data: {Base64(key)}");
    }

    /// <summary>Runs as ever; its date is off by years.</summary>
    private sealed class ShiftedTime(int years) : TimeProvider
    {
        public override DateTimeOffset GetUtcNow() => System.GetUtcNow().AddYears(years);
    }

    private async Task<TestApiServer> TlsServerAsync(string name, bool metaServer = false, DateTimeOffset? until = null)
    {
        var server = await TestApiServer.StartAsync(new() { Address = IPAddress.Loopback, MetaServer = metaServer, Certificate = _certificates.Server(name, until), ClientCa = _certificates.Ca });
        server.Put(Sample.Service("web"));
        return server;
    }

    private string KubeConfig(string server, string cluster, string user)
    {
        var path = _folder.Write("config", $$"""
            apiVersion: v1
            kind: Config
            current-context: here
            contexts: [{name: here, context: {cluster: k, user: u} }]
            clusters: [{name: k, cluster: {server: "{{server}}"{{(cluster.Length > 0 ? ", " + cluster : "")}} } }]
            users: [{name: u, user: { {{user}} } }]
            """);
        File.SetUnixFileMode(path, UnixFileMode.UserRead | UnixFileMode.UserWrite);
        return path;
    }
}
