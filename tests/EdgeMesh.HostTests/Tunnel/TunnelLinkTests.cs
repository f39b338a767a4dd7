using System.Diagnostics;
using System.Net.Sockets;
using EdgeMesh.Testing.Lab;
using EdgeMesh.Testing.Lab.Mesh;
using Xunit;

namespace EdgeMesh.HostTests.Tunnel;

/// <summary>A link goes and comes back.</summary>
public sealed class TunnelLinkTests(ITestOutputHelper output)
{
    private static readonly TimeSpan AfterTheLinkIsBack = TimeSpan.FromSeconds(5);

    /// <summary>In the long form as long as a person would wait for a cable. Shorter is long enough for every time-out of
    /// the tunnel to have run out, and for the longest pause between two attempts.</summary>
    private static TimeSpan LinkIsDown { get; } = TimeSpan.FromSeconds(LongForm.IsAsked ? 30 : 12);

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task SessionsReturnWithinFiveSecondsOfTheLink(bool silent)
    {
        await using var lab = await Services.StartLabAsync(lab => [lab.Cloud]);
        var leaks = Leaks.Watch(lab.Cloud, lab.Edge1, lab.Edge2);
        var standing = await Task.WhenAll(Enumerable.Range(0, 20).Select(_ => lab.Edge1.ConnectAsync(Services.OnCloud)));
        foreach (var socket in standing)
        {
            await socket.SendAsync("ECHO\n"u8.ToArray());
            await Conversation.EchoAsync(socket, "hello");
        }

        if (silent)
            (await lab.RunAsync("nat-1", "iptables-nft", "-t", "raw", "-I", "PREROUTING", "-j", "DROP")).Succeeded();
        else
            await lab.IpAsync("nat-1", "link set eth0 down");
        await Eventually.StaysAsync(() => lab.Edge1.Agent.GetAsync("/livez"), seen => seen.Status == 200, LinkIsDown);
        await Assert.ThrowsAnyAsync<Exception>(() => lab.Edge1.AskAsync(Services.OnCloud, TimeSpan.FromSeconds(1)));
        if (silent)
            (await lab.RunAsync("nat-1", "iptables-nft", "-t", "raw", "-D", "PREROUTING", "1")).Succeeded();
        else
            await lab.IpAsync("nat-1", "link set eth0 up");

        var watch = Stopwatch.StartNew();
        await Task.WhenAll(
            Services.UntilAnsweredAsync(lab.Edge1, Services.OnCloud, lab.Cloud, AfterTheLinkIsBack),
            Services.UntilAnsweredAsync(lab.Cloud, Services.OnEdge1, lab.Edge1, AfterTheLinkIsBack),
            Services.UntilAnsweredAsync(lab.Edge1, Services.OnEdge2, lab.Edge2, AfterTheLinkIsBack));
        output.WriteLine($"All answer {watch.Elapsed.TotalSeconds:F1} s after the link is back.");
        // What stood over the lost sessions was reset, and not left to whoever waits for it.
        foreach (var socket in standing)
        {
            await Assert.ThrowsAsync<SocketException>(() => Conversation.EchoAsync(socket, "still there?"));
            socket.Dispose();
        }

        await leaks.AssertNoneAsync(output);
    }
}
