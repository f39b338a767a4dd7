using System.Net;
using System.Net.Sockets;
using System.Text;
using EdgeMesh.Agent;
using EdgeMesh.Agent.Admin;
using EdgeMesh.Reconciling;
using EdgeMesh.Testing.Lab;
using EdgeMesh.Tests.Options;
using Microsoft.Extensions.Logging.Abstractions;
using Xunit;

namespace EdgeMesh.Tests.Admin;

[Collection(nameof(OneAgentInTheProcess))]
public sealed class AdminServerTests : IAsyncLifetime
{
    private readonly IPEndPoint _address = new(OwnLoopback.Next(), 10_550);
    private readonly AdminServer _server;
    private int _built;

    public AdminServerTests() => _server = new AdminServer(new AdminEndpoint.Tcp(_address), "edge-1", () => Healthy, _ =>
    {
        Interlocked.Increment(ref _built);
        throw new IOException("no status here");
    }, names: null, NullLoggerFactory.Instance, TimeProvider.System);

    private static CancellationToken Token => TestContext.Current.CancellationToken;

    private static HealthFacts Healthy => new()
    {
        Reconciler = ReconcilerState.Initial,
        Draining = false,
        SlowestLoop = TimeSpan.Zero,
        Handles = false,
        FaultAge = null,
        FailedParts = [],
    };

    public async ValueTask InitializeAsync() => await _server.StartAsync(Token);

    public ValueTask DisposeAsync() => _server.DisposeAsync();

    [Theory]
    [InlineData("GET /livez HTTP/1.1\r\nHost: idle\r\n\r\n")]
    [InlineData("GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n")]
    [InlineData("GET /livez HTTP/1.1\r\nHos")]
    [InlineData("GET /livez HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\nx")]
    [InlineData("")]
    public async Task ConnectionsThatAreHeldDoNotKeepAProbeOut(string sent)
    {
        var held = new List<Socket>();
        try
        {
            for (var i = 0; i < 3 * AdminConnections.Limit; i++)
            {
                held.Add(await ConnectAsync());
                await held[^1].SendAsync(Encoding.ASCII.GetBytes(sent), Token);
            }

            Assert.Contains("200 OK", await AskAsync("GET /livez HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"), StringComparison.Ordinal);
        }
        finally
        {
            held.ForEach(socket => socket.Dispose());
        }
    }

    [Theory]
    [InlineData("10.0.0.1:9999", "commonConfig.adminAddress")]
    [InlineData("[::1]:9999", "commonConfig.adminAddress")]
    [InlineData("/run/edgemesh/admin.sock", "commonConfig.adminSocket")]
    [InlineData("run/edgemesh/admin.sock", null)]
    [InlineData("10.0.0.1", null)]
    [InlineData("10.0.0.1:0", null)]
    public void APlaceIsAnAddressAndPortOrThePathOfASocket(string text, string? setting) => Assert.Equal(setting, AdminEndpoint.Parse(text)?.Setting);

    [Fact]
    public async Task ASocketIsMadeForItsUserAloneAndOnlyWhereNobodyElseCouldPutAnother()
    {
        using var folder = new TemporaryFolder();
        var socket = new AdminEndpoint.UnixSocket(Path.Combine(folder.Path, "of-its-own", "admin.sock"));
        for (var i = 0; i < 2; i++)
        {
            var server = new AdminServer(socket, "edge-1", () => Healthy, _ => throw new IOException("no status here"), names: null, NullLoggerFactory.Instance, TimeProvider.System);
            await server.StartAsync(Token);
            Assert.Equal(UnixFileMode.UserRead | UnixFileMode.UserWrite, File.GetUnixFileMode(socket.Path));
            Assert.Equal(UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute, File.GetUnixFileMode(Path.GetDirectoryName(socket.Path)!));
            using var client = socket.NewClient();
            Assert.Equal("ok\n", await client.GetStringAsync(new Uri("livez", UriKind.Relative), Token));
            await server.DisposeAsync();
        }

        File.SetUnixFileMode(folder.Path, UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute | UnixFileMode.OtherWrite);
        Assert.Contains("could answer in its place", Assert.Throws<IOException>(new AdminEndpoint.UnixSocket(Path.Combine(folder.Path, "admin.sock")).Prepare).Message, StringComparison.Ordinal);
        await File.WriteAllTextAsync(socket.Path, "not ours", Token);
        Assert.Contains("is a file", Assert.Throws<IOException>(socket.Prepare).Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("127.0.0.1:9999", 200)]
    [InlineData("localhost", 200)]
    [InlineData("[::1]:9999", 200)]
    [InlineData("EDGE-1", 200)]
    [InlineData("edge-1:80", 200)]
    [InlineData("attacker.example", 421)]
    [InlineData("127.0.0.1.attacker.example", 421)]
    [InlineData("localhost.attacker.example:9999", 421)]
    [InlineData("192.0.2.7", 421)]
    [InlineData("edge-2", 421)]
    public async Task OnlyItsOwnNamesAreAnswered(string host, int code) =>
        Assert.StartsWith($"HTTP/1.1 {code} ", await AskAsync($"GET /livez HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"), StringComparison.Ordinal);

    [Theory]
    [InlineData("POST /livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", 405)]
    [InlineData("GET /livez HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\n", 413)]
    [InlineData("GET /other HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", 404)]
    [InlineData("GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", 200)]
    [InlineData("HEAD /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", 200)]
    public async Task WhatIsNoQuestionIsRefusedAtOnce(string request, int code) =>
        Assert.StartsWith($"HTTP/1.1 {code} ", await AskAsync(request), StringComparison.Ordinal);

    [Fact]
    public async Task AFloodOfQuestionsBuildsOneStatusASecond()
    {
        var started = TimeProvider.System.GetTimestamp();
        for (var i = 0; i < 50; i++)
            Assert.StartsWith("HTTP/1.1 500 ", await AskAsync("GET /status HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"), StringComparison.Ordinal);
        Assert.InRange(_built, 1, 1 + (int)TimeProvider.System.GetElapsedTime(started).TotalSeconds);
    }

    [Theory]
    [InlineData("shop/web", "shop/web")]
    [InlineData("a\u001b[2Jb\0c\rd", "a\\x1b[2Jb\\x00c\\rd")]
    [InlineData("\u009b31m\u202eabc\u2066", "\\x9b31m\\u202eabc\\u2066")]
    [InlineData("two\nlines\u2028\u200b", "two\\nlines\\u2028\\u200b")]
    [InlineData("Größe 日本 …", "Größe 日本 …")]
    public void WhatATerminalWouldObeyIsShownInsteadOfSent(string text, string shown) => Assert.Equal(shown, PlainText.Of(text));

    private async Task<Socket> ConnectAsync()
    {
        var socket = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
        await socket.ConnectAsync(_address, Token);
        return socket;
    }

    private async Task<string> AskAsync(string request)
    {
        using var deadline = CancellationTokenSource.CreateLinkedTokenSource(Token);
        deadline.CancelAfter(TimeSpan.FromSeconds(10));
        using var socket = await ConnectAsync();
        await socket.SendAsync(Encoding.ASCII.GetBytes(request), deadline.Token);
        var answer = new StringBuilder();
        var buffer = new byte[65536];
        while (await socket.ReceiveAsync(buffer, deadline.Token) is > 0 and var count)
            answer.Append(Encoding.UTF8.GetString(buffer, 0, count));
        return answer.ToString();
    }
}
