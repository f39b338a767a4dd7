using EdgeMesh.Testing.Lab;
using Xunit;

namespace EdgeMesh.HostTests.Names;

/// <summary>Real dig, getaddrinfo of glibc and musl, and a real resolver as upstream. One node answers the questions of most tests.</summary>
public sealed class NamesTests(NamesTests.Node node) : IClassFixture<NamesTests.Node>
{
    private const string Zone = "svc.cluster.local";
    private static readonly TimeSpan Soon = TimeSpan.FromSeconds(20);

    private NamesNode Names => node.Names;

    [Theory]
    [InlineData("dns-version.cluster.local", "TXT", "NOERROR", "TXT \"1.1.0\"")]
    [InlineData($"web.demo.{Zone}", "A", "NOERROR", "A 10.96.10.1")]
    [InlineData($"web.demo.{Zone}", "AAAA", "NOERROR", "AAAA fd00:10:96::7")]
    [InlineData($"WEB.Demo.{Zone}", "A", "NOERROR", "A 10.96.10.1")]
    [InlineData($"left.demo.{Zone}", "A", "NOERROR", "A 10.96.10.9")]
    [InlineData($"left.demo.{Zone}", "AAAA", "NOERROR")]
    [InlineData($"_http._tcp.web.demo.{Zone}", "SRV", "NOERROR", $"SRV 0 100 80 web.demo.{Zone}.")]
    [InlineData($"web.demo.{Zone}", "SRV", "NOERROR", $"SRV 0 100 80 web.demo.{Zone}.", $"SRV 0 100 9090 web.demo.{Zone}.")]
    [InlineData($"_none._tcp.web.demo.{Zone}", "SRV", "NXDOMAIN")]
    [InlineData($"db.demo.{Zone}", "A", "NOERROR", "A 10.244.0.11", "A 10.244.0.21")]
    [InlineData($"db-0.db.demo.{Zone}", "A", "NOERROR", "A 10.244.0.11")]
    [InlineData($"db-1.db.demo.{Zone}", "A", "NXDOMAIN")]
    [InlineData($"10-244-0-21.db.demo.{Zone}", "A", "NOERROR", "A 10.244.0.21")]
    [InlineData($"_sql._tcp.db.demo.{Zone}", "SRV", "NOERROR", $"SRV 0 100 5432 10-244-0-21.db.demo.{Zone}.", $"SRV 0 100 5432 db-0.db.demo.{Zone}.")]
    [InlineData($"ext.demo.{Zone}", "CNAME", "NOERROR", "CNAME www.example.")]
    [InlineData($"ext.demo.{Zone}", "A", "NOERROR", "A 192.0.2.9", "CNAME www.example.")]
    [InlineData("1.10.96.10.in-addr.arpa", "PTR", "NOERROR", $"PTR web.demo.{Zone}.")]
    [InlineData("11.0.244.10.in-addr.arpa", "PTR", "NOERROR", $"PTR db-0.db.demo.{Zone}.")]
    [InlineData("10-1-2-3.demo.pod.cluster.local", "A", "NOERROR", "A 10.1.2.3")]
    [InlineData("10-1-2-3.nowhere.pod.cluster.local", "A", "NXDOMAIN")]
    [InlineData($"demo.{Zone}", "A", "NOERROR")]
    [InlineData($"empty.{Zone}", "A", "NOERROR")]
    [InlineData($"nowhere.{Zone}", "A", "NXDOMAIN")]
    [InlineData($"none.demo.{Zone}", "A", "NXDOMAIN")]
    [InlineData($"www.example.demo.{Zone}", "A", "NXDOMAIN")]
    [InlineData(Zone, "A", "NOERROR")]
    [InlineData("cluster.local", "NS", "NOERROR", "NS ns.dns.cluster.local.")]
    [InlineData("www.example", "A", "NOERROR", "A 192.0.2.9")]
    [InlineData("www.example", "AAAA", "NOERROR", "AAAA 2001:db8::9")]
    [InlineData("none.example", "A", "NXDOMAIN")]
    public async Task DigGetsTheAnswerByEveryPath(string name, string type, string code, params string[] records)
    {
        var expected = string.Join('\n', [code, .. records.Order(StringComparer.Ordinal)]);
        string[][] paths = [[NamesNode.Server], [NamesNode.Server, "+tcp"], [NamesNode.Server, "+noedns"], [NamesNode.Server6]];
        foreach (var path in paths)
            Assert.Equal(expected, (await Names.DigAsync("client", path[0], [name, type, .. path[1..]])).ToString());
    }

    [Fact]
    public async Task AnswersThatNoDatagramHoldsAreCutAndWholeByTcp()
    {
        var cut = await Names.DigAsync("client", NamesNode.Server, "big.example", "A", "+ignore");
        Assert.Contains("tc", cut.Flags, StringComparison.Ordinal);
        Assert.Equal(150, (await Names.DigAsync("client", NamesNode.Server, "big.example", "A")).Records.Count);
    }

    [Theory]
    [InlineData("web", "10.96.10.1")]
    [InlineData("web.demo", "10.96.10.1")]
    [InlineData("ext", "192.0.2.9")]
    [InlineData("www.example", "192.0.2.9")]
    public async Task GetaddrinfoOfGlibcAndMuslFindsWhatPodsAskFor(string name, string address)
    {
        Assert.Contains(address, (await Names.InPodAsync("getent", "ahosts", name)).Succeeded().Output, StringComparison.Ordinal);
        Assert.Contains(address, (await Names.InPodAsync(node.Musl, name)).Succeeded().Output, StringComparison.Ordinal);
    }

    [Fact]
    public async Task ANameThatDoesNotExistEndsTheSearchOfBoth()
    {
        Assert.NotEqual(0, (await Names.InPodAsync("getent", "ahosts", "nobody")).ExitCode);
        Assert.Contains("does not resolve", (await Names.InPodAsync(node.Musl, "nobody")).Output, StringComparison.OrdinalIgnoreCase);
    }

    [Fact]
    public async Task TheCommandSaysWhyTheAnswerIsSo()
    {
        Assert.Equal($"web.demo.{Zone}. 30 A 10.96.10.1\nNOERROR from zone: this agent knows the names of the cluster\n", (await Names.NameAsync($"web.demo.{Zone}")).Succeeded().Output);
        Assert.Matches("^www.example. \\d+ AAAA 2001:db8::9\nNOERROR from (upstream|cache): ", (await Names.NameAsync("www.example", "aaaa")).Succeeded().Output);
        var missing = await Names.NameAsync($"none.demo.{Zone}");
        Assert.Equal((1, true), (missing.ExitCode, missing.Output.Contains("NXDOMAIN from zone", StringComparison.Ordinal)));
        var wrong = await Names.NameAsync("a..b");
        Assert.Equal((1, true), (wrong.ExitCode, wrong.Errors.Contains("is no name that DNS can have", StringComparison.Ordinal)));
        Assert.Contains($"asks {LabAddresses.Outside}:53: ", (await Names.StatusAsync()).Succeeded().Output, StringComparison.Ordinal);
    }

    /// <summary>The machine next door sends to the address of the device by way of the node.</summary>
    [Fact]
    public async Task AMachineThatIsNoPodOfThisNodeIsRefusedAndCounted()
    {
        (await Names.Lab.RunAsync("outside", "ip", "route", "replace", NamesNode.Server, "via", LabAddresses.Node)).Succeeded();
        var before = await Names.Agent.MetricAsync("edgemesh_dns_refused_clients_total");
        Assert.Equal("REFUSED", (await Names.DigAsync("outside", NamesNode.Server, "www.example", "A")).ToString());
        Assert.Equal("REFUSED", (await Names.DigAsync("outside", NamesNode.Server, $"web.demo.{Zone}", "A", "+tcp")).ToString());
        Assert.Equal(before + 2, await Names.Agent.MetricAsync("edgemesh_dns_refused_clients_total"));
        Assert.Equal("NOERROR\nA 192.0.2.9", (await Names.DigAsync("node", NamesNode.Server, "www.example", "A")).ToString());
    }

    [Fact]
    public async Task AServiceThatComesAndGoesIsAnsweredAndDeniedAtOnce()
    {
        var service = new ManifestService { Name = "late", ClusterIPs = ["10.96.10.77"], Ports = [new ManifestPort("http", 80, 8081)] };
        Assert.Equal("NXDOMAIN", (await Names.DigAsync("client", NamesNode.Server, $"late.demo.{Zone}", "A")).Code);
        Names.Lab.Manifests.Write(service);
        await Eventually.SeesAsync(async () => await Names.DigAsync("client", NamesNode.Server, $"late.demo.{Zone}", "A"), answer => answer.Records is ["A 10.96.10.77"], Soon, "the new name");
        Names.Lab.Manifests.Remove(service);
        await Eventually.SeesAsync(async () => await Names.DigAsync("client", NamesNode.Server, $"late.demo.{Zone}", "A"), answer => answer.Code == "NXDOMAIN", Soon, "no name");
    }

    /// <summary>The node that these tests share, and a program of musl's.</summary>
    public sealed class Node : IAsyncLifetime
    {
        private const string Source = """
            #include <netdb.h>
            #include <stdio.h>
            #include <string.h>
            #include <sys/socket.h>
            int main(int count, char **arguments)
            {
                struct addrinfo hints, *found;
                char text[256];
                memset(&hints, 0, sizeof hints);
                hints.ai_socktype = SOCK_STREAM;
                int fault = getaddrinfo(arguments[1], "80", &hints, &found);
                if (fault) { puts(gai_strerror(fault)); return 1; }
                for (; found; found = found->ai_next)
                    if (!getnameinfo(found->ai_addr, found->ai_addrlen, text, sizeof text, 0, 0, NI_NUMERICHOST)) puts(text);
                return 0;
            }
            """;

        internal NamesNode Names { get; private set; } = null!;

        internal string Musl => Path.Combine(Names.Lab.Folder, "resolve");

        public async ValueTask InitializeAsync()
        {
            Names = await NamesNode.StartAsync();
            var source = Path.Combine(Names.Lab.Folder, "resolve.c");
            await File.WriteAllTextAsync(source, Source);
            (await CommandResult.RunAsync("musl-gcc", ["-static", "-o", Musl, source])).Succeeded();
        }

        public ValueTask DisposeAsync() => Names.DisposeAsync();
    }
}
