using EdgeMesh.Kubernetes;
using EdgeMesh.Kubernetes.Access;
using EdgeMesh.Testing;
using EdgeMesh.Testing.ApiServer;
using Xunit;

namespace EdgeMesh.Tests.Kubernetes;

/// <summary>Programs that a kubeconfig names for credentials (client.authentication.k8s.io/v1); here, shell scripts.</summary>
public sealed class ExecPluginTests : IDisposable
{
    private static readonly TimeSpan Deadline = TimeSpan.FromSeconds(20);

    private readonly TemporaryFolder _folder = new();
    private readonly ManualTime _time = new();

    private static CancellationToken Token => TestContext.Current.CancellationToken;

    public void Dispose() => _folder.Dispose();

    [Fact]
    public async Task ItsTokenIsUsedUntilTheServerRefusesItAndThenItRunsAgain()
    {
        await using var server = await TestApiServer.StartAsync();
        server.Token = "first";
        server.Put(Sample.Service("web"));
        _folder.Write("token", "first");
        var program = Script("""echo run >>"$0.runs"; echo "{\"apiVersion\":\"client.authentication.k8s.io/v1\",\"kind\":\"ExecCredential\",\"status\":{\"token\":\"$(cat "$(dirname "$0")/token")\"}}" """);
        await using var running = Run(KubeConfig(server.Url, program));
        await running.SeesAsync(facts => facts.Services.Count == 1);
        Assert.Equal(1, Runs(program));
        Assert.InRange(server.Requests.Count(request => request.Authorization == "Bearer first"), 2, 1000);

        _folder.Write("token", "second");
        server.Token = "second";
        server.DropConnections();
        server.Put(Sample.Service("more"));
        await running.SeesAsync(facts => facts.Services.Count == 2);
        Assert.InRange(Runs(program), 2, 5);
    }

    [Fact]
    public async Task ItsClientCertificateOpensTheConnection()
    {
        using var certificates = new TestCertificates();
        await using var server = await TestApiServer.StartAsync(new() { Certificate = certificates.Server("127.0.0.1"), ClientCa = certificates.Ca });
        server.Put(Sample.Service("web"));
        var (certificate, key) = certificates.ClientPem("agent");
        static string Json(string text) => System.Text.Json.JsonEncodedText.Encode(text).ToString();
        _folder.Write("answer", $$$"""{"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential","status":{"clientCertificateData":"{{{Json(certificate)}}}","clientKeyData":"{{{Json(key)}}}"}}""");
        var ca = Convert.ToBase64String(System.Text.Encoding.UTF8.GetBytes(certificates.CaPem));
        await using var running = Run(KubeConfig(server.Url, Script("""cat "$(dirname "$0")/answer" """), $", certificate-authority-data: {ca}"));
        await running.SeesAsync(facts => facts.Services.Count == 1);
    }

    [Fact]
    public async Task WhatItGivesIsKeptUntilItExpires()
    {
        var expiry = (_time.GetUtcNow() + TimeSpan.FromHours(1)).ToString("yyyy-MM-ddTHH:mm:ssZ", System.Globalization.CultureInfo.InvariantCulture);
        var program = Script($$$"""echo run >>"$0.runs"; echo '{"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential","status":{"token":"t","expirationTimestamp":"{{{expiry}}}"}}'""");
        var plugin = Plugin(program);
        var first = await plugin.GetAsync(null, Token);
        _time.Advance(TimeSpan.FromMinutes(59));
        Assert.Same(first, await plugin.GetAsync(null, Token));
        _time.Advance(TimeSpan.FromMinutes(2));
        var second = await plugin.GetAsync(null, Token);
        Assert.NotSame(first, second);
        Assert.Equal(2, Runs(program));
        // It has expired when it comes. The server judges it, and the program is not run for each request.
        Assert.Same(second, await plugin.GetAsync(null, Token));
        // Somebody else has had it renewed meanwhile.
        Assert.Same(second, await plugin.GetAsync(first, Token));
        Assert.NotSame(second, await plugin.GetAsync(second, Token));
    }

    [Fact]
    public async Task ThoseWhoAskAtOnceWaitForTheSameRun()
    {
        var program = Script("""echo run >>"$0.runs"; echo '{"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential","status":{"token":"t"}}'""");
        var plugin = Plugin(program);
        await Task.WhenAll(Enumerable.Range(0, 8).Select(_ => plugin.GetAsync(null, Token)));
        Assert.Equal(1, Runs(program));
    }

    [Fact]
    public async Task ItIsToldWhatItIsForAndHasNobodyToTalkTo()
    {
        var program = Script("""
            cat >"$0.stdin"
            printf %s "$KUBERNETES_EXEC_INFO" >"$0.info"
            printf '%s %s' "$1" "$WHO" >"$0.more"
            echo '{"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential","status":{"token":"t"}}'
            """);
        var config = KubeConfig("https://10.0.0.1:6443", program, "", "args: [get-token], env: [{name: WHO, value: agent}], provideClusterInfo: true");
        var access = ApiAccess.Resolve(new() { KubeConfigPath = config }, TimeProvider.System);
        Assert.Equal("t", (await access.Exec!.GetAsync(null, Token)).Token);
        Assert.Equal("""{"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential","spec":{"interactive":false,"cluster":{"server":"https://10.0.0.1:6443"}}}""", await File.ReadAllTextAsync(program + ".info", Token));
        Assert.Equal("get-token agent", await File.ReadAllTextAsync(program + ".more", Token));
        Assert.Empty(await File.ReadAllTextAsync(program + ".stdin", Token));
    }

    [Theory]
    [InlineData("echo; echo 'no ticket' >&2; echo 'second line' >&2; exit 3", "ended with status 3 and said: no ticket")]
    [InlineData("echo nonsense", "no ExecCredential in JSON")]
    [InlineData("""echo '{"apiVersion":"client.authentication.k8s.io/v1beta1","kind":"ExecCredential"}'""", "no ExecCredential of client.authentication.k8s.io/v1")]
    [InlineData("""echo '{"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential"}'""", "without a status")]
    [InlineData("""echo '{"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential","status":{"clientKeyData":"x"}}'""", "neither a token nor")]
    [InlineData("""printf %s '{"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential","status":{"token":"a\nb"}}'""", "more than a token")]
    [InlineData("""echo '{"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential","status":{"token":"s3cret","expirationTimestamp":"soon"}}'""", "no time")]
    [InlineData("""echo '{"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential","status":{"clientCertificateData":"s3cret","clientKeyData":"s3cret"}}'""", "certificate that cannot be used")]
    [InlineData("head -c 3000000 /dev/zero", "more than 1024 KB")]
    public async Task WhatItGetsWrongIsNamedWithoutWhatItPrinted(string script, string part)
    {
        var fault = await Assert.ThrowsAsync<ApiAccessException>(() => Plugin(Script(script)).GetAsync(null, Token));
        Assert.Contains(part, fault.Message, StringComparison.Ordinal);
        Assert.StartsWith("the exec program ", fault.Message, StringComparison.Ordinal);
        Assert.DoesNotContain("second line", fault.Message, StringComparison.Ordinal);
        Assert.DoesNotContain("s3cret", fault.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task OneThatHangsIsKilledAndOneThatIsNotThereIsNamedWithTheHint()
    {
        var program = Script("echo $$ >\"$0.pid\"; mv \"$0.pid\" \"$0.is\"; exec sleep 600");
        var asked = Plugin(program).GetAsync(null, Token);
        await RunningSource.UntilAsync(() => File.Exists(program + ".is"), "it runs");
        _time.Advance(TimeSpan.FromSeconds(31));
        Assert.Contains("did not end within 30 s", (await Assert.ThrowsAsync<ApiAccessException>(() => asked.WaitAsync(Deadline, Token))).Message, StringComparison.Ordinal);
        var id = (await File.ReadAllTextAsync(program + ".is", Token)).Trim();
        await RunningSource.UntilAsync(() => !Directory.Exists($"/proc/{id}") || File.ReadAllText($"/proc/{id}/stat").Contains(") Z ", StringComparison.Ordinal), "it is gone");

        var missing = await Assert.ThrowsAsync<ApiAccessException>(() => Plugin("no-such-program", "get it from your cloud").GetAsync(null, Token));
        Assert.Contains("no-such-program", missing.Message, StringComparison.Ordinal);
        Assert.Contains("get it from your cloud", missing.Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("{command: x}", "apiVersion")]
    [InlineData("{apiVersion: client.authentication.k8s.io/v1alpha1, command: x}", "v1alpha1")]
    [InlineData("{apiVersion: client.authentication.k8s.io/v1}", "no command")]
    [InlineData("{apiVersion: client.authentication.k8s.io/v1, command: x, interactiveMode: Always}", "nobody sits")]
    [InlineData("x", "no mapping")]
    public void WhatCannotWorkIsToldWhenTheKubeconfigIsRead(string exec, string part)
    {
        var path = _folder.Write("config", $"current-context: c\ncontexts: [{{name: c, context: {{cluster: k, user: u}}}}]\nclusters: [{{name: k, cluster: {{server: 'https://10.0.0.1:6443'}}}}]\nusers: [{{name: u, user: {{exec: {exec}}}}}]\n");
        var fault = Assert.Throws<ApiAccessException>(() => ApiAccess.Resolve(new() { KubeConfigPath = path }, TimeProvider.System));
        Assert.Contains(part, fault.Message, StringComparison.Ordinal);
        Assert.Contains($"{path}:4 exec", fault.Message, StringComparison.Ordinal);
    }

    private static int Runs(string program) => File.ReadAllLines(program + ".runs").Length;

    private static RunningSource Run(string config) => new(
        new ApiServerSource(ApiAccess.Resolve(new() { KubeConfigPath = config }, TimeProvider.System), new() { KubeConfigPath = config }, Sample.Quick, TimeProvider.System, new LogLines()));

    private ExecPlugin Plugin(string program, string hint = "") =>
        new(new ExecCommand { Program = program, ApiVersion = "client.authentication.k8s.io/v1", InstallHint = hint, Origin = "/etc/config" }, _time);

    private string Script(string text)
    {
        var path = _folder.Write("program", "#!/bin/sh\n" + text + "\n");
        File.SetUnixFileMode(path, UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute);
        return path;
    }

    private string KubeConfig(string server, string program, string cluster = "", string exec = "interactiveMode: Never") => _folder.Write("config", $$"""
        current-context: here
        contexts: [{name: here, context: {cluster: k, user: u} }]
        clusters: [{name: k, cluster: {server: "{{server}}"{{cluster}} } }]
        users: [{name: u, user: {exec: {apiVersion: client.authentication.k8s.io/v1, command: {{program}}, {{exec}} } } }]
        """);
}
