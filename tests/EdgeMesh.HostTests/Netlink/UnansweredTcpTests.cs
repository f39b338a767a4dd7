using EdgeMesh.Linux;
using EdgeMesh.Linux.Netlink;
using EdgeMesh.Net;
using EdgeMesh.Testing.Lab;
using Microsoft.Extensions.Logging.Abstractions;
using Xunit;

namespace EdgeMesh.HostTests.Netlink;

[Trait(Ring.Name, Ring.Kernels)]
public sealed class UnansweredTcpTests
{
    [Fact]
    public async Task OnlyConnectionsThatNobodyAnsweredAreForgotten()
    {
        await using var lab = await ListenDeviceTests.BareLabAsync();
        foreach (var (port, state) in new[] { ("1", "SYN_SENT"), ("2", "ESTABLISHED"), ("3", "SYN_SENT") })
        {
            (await lab.RunAsync(
                "node", "conntrack",
                [
                    "-I", "-p", "tcp", "-s", "10.1.0.1", "-d", port == "3" ? "10.96.0.2" : "10.96.0.1", "--sport", port, "--dport", "80", "-r", "10.9.9.9", "-q", "10.1.0.1",
                    "--reply-port-src", "8080", "--reply-port-dst", port, "-t", "100", "--state", state, .. state == "ESTABLISHED" ? (string[])["-u", "SEEN_REPLY"] : [],
                ])).Succeeded();
        }

        var service = InetEndpoint.Parse("10.96.0.1:80");
        var result = lab.Node.Run(() => new ConntrackCleaner(NullLogger<ConntrackCleaner>.Instance).DeleteUnansweredTcp(
            (in ConntrackFlow flow) => flow.OriginalDestination == service, CancellationToken.None));

        Assert.Equal(new ConntrackCleaning(3, 1, 1, 0), result);
        var left = (await lab.RunAsync("node", "conntrack", "-L", "-p", "tcp")).Succeeded().Output;
        Assert.DoesNotContain("sport=1 ", left, StringComparison.Ordinal);
        Assert.Contains("sport=2 ", left, StringComparison.Ordinal);
        Assert.Contains("sport=3 ", left, StringComparison.Ordinal);
    }
}
