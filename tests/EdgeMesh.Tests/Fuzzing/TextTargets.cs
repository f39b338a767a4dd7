using System.Text;
using EdgeMesh.Agent.Options;
using EdgeMesh.Kubernetes;
using EdgeMesh.Kubernetes.Access;
using EdgeMesh.Kubernetes.Api;
using EdgeMesh.Kubernetes.Caching;
using EdgeMesh.Kubernetes.Manifests;
using EdgeMesh.Kubernetes.Watching;
using EdgeMesh.Kubernetes.Yaml;
using EdgeMesh.LibP2P.PrivateNetwork;
using EdgeMesh.Linux;
using EdgeMesh.Linux.Memory;
using EdgeMesh.Linux.Netlink;
using EdgeMesh.Linux.Sockets;
using EdgeMesh.Net;
using EdgeMesh.Netfilter.Iptables;
using EdgeMesh.Netfilter.Nftables;
using EdgeMesh.Tunnel.Identity;
using static EdgeMesh.Tests.Fuzzing.FuzzTarget;

namespace EdgeMesh.Tests.Fuzzing;

/// <summary>What comes from the API, from files, from programs and from the kernel.</summary>
internal static class TextTargets
{
    private static readonly string[] Objects = [FuzzSamples.Service, FuzzSamples.Slice, FuzzSamples.Endpoints, FuzzSamples.Node];
    private static readonly byte[][] JsonWords = Split("{ } [ ] : , null true false 1e400 -1 \"metadata\": \"name\": \"spec\": \"ports\": \"endpoints\": \"addresses\": \"labels\":{ \\ud800 \\u0000 99999999999 \"hints\": \"subsets\":", ' ');
    private static readonly byte[][] YamlWords = Split("- |: |<<: |*a|&a |? |! |!!binary |---\n|...\n|%YAML 1.2\n|{|}|[|]|\"|'|>|\t|#|\\|\\x|\\u|\\U00110000|\0|\u0085|\u2028|\uFEFF|~|<<: *a\n|&|*|@|`|%TAG ! x\n|>9\n|-\n", '|');

    // Each once ended the agent or its config watcher: a flow mapping whose lines are not indented, and text after the end.
    private static readonly byte[][] OddYaml = [Text("modules: {\nedgeProxy: {enable: true}\n}\n"), Text("a: 1\n...\nb: 2\n"), Text("a: [\n1,\n2\n]\n"), Text("kind: EdgeMeshAgent\n... x\n")];

    private static readonly RuleChangeParser Rules = new(new RuleWatch { ChainPrefixes = ["EDGEMESH-"], Tables = ["edgemesh"] });

    internal static IEnumerable<FuzzTarget> All() => [.. Kernel(), .. Api(), .. Yaml(), .. Programs()];

    private static IEnumerable<FuzzTarget> Kernel()
    {
        yield return new("netlink", [.. KernelMessages()], bytes =>
        {
            var messages = new NetlinkMessages(bytes);
            while (messages.MoveNext())
            {
                _ = messages.Errno;
                Netlink(messages.Type, messages.Payload);
            }

            Netlink(0x0A06, bytes);
            _ = SockAddr.TryRead(bytes, out _);
        });
        yield return new("smaps", [Text(File.ReadAllText("/proc/self/smaps")[..3000])], bytes =>
        {
            foreach (var mapping in MemoryMapping.Parse(Encoding.Latin1.GetString(bytes).Split('\n')))
                _ = mapping.ToString();
        });
    }

    private static void Netlink(int type, ReadOnlySpan<byte> payload)
    {
        _ = ConntrackMessages.TryParse(payload, out _);
        _ = RouteMessages.ParseLink(payload);
        _ = RouteMessages.ParseAddress(payload);
        Rules.Parse(type, payload, out _);
    }

    private static IEnumerable<byte[]> KernelMessages()
    {
        var buffer = new byte[512];
        yield return buffer[..ConntrackMessages.WriteLookup(buffer, 7, InetEndpoint.Parse("1.2.3.4:5"), InetEndpoint.Parse("6.7.8.9:10"))];
        yield return buffer[..ConntrackMessages.WriteLookup(buffer, 7, InetEndpoint.Parse("[fd00::1]:5"), InetEndpoint.Parse("[fd00::2]:10"))];
        yield return buffer[..ConntrackMessages.WriteDump(buffer, 7, TransportProtocol.Udp, true, true)];
        yield return [36, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 0xfe, 0xff, 0xff, 0xff, .. new byte[16]];
        yield return RuleEvent();
    }

    private static byte[] RuleEvent()
    {
        var writer = new NetlinkWriter(new byte[256]);
        writer.NetfilterHeader(2);
        writer.AttributeText(1, "nat");
        writer.AttributeText(2, "PREROUTING");
        return writer.Written.ToArray();
    }

    private static IEnumerable<FuzzTarget> Api()
    {
        yield return new("objects", [.. Objects.Select(Text)], bytes =>
        {
            Kinds.Services.Read(bytes);
            Kinds.EndpointSlices.Read(bytes);
            Kinds.Endpoints.Read(bytes);
            Kinds.Nodes.Read(bytes);
            ObjectReader.Identify(bytes);
        })
        { Words = JsonWords };
        string[] others = ["{\"type\":\"ERROR\",\"object\":{\"kind\":\"Status\",\"code\":410,\"message\":\"gone\",\"details\":{\"retryAfterSeconds\":3}}}", "{\"type\":\"BOOKMARK\",\"object\":{\"metadata\":{\"resourceVersion\":\"7\"}}}"];
        yield return new("watch-line", [.. Objects.Select(o => Text($"{{\"type\":\"ADDED\",\"object\":{o}}}")), .. others.Select(Text)], bytes =>
        {
            ObjectReader.Identify(WatchLine.FrontOfObject(bytes));
            var line = WatchLine.Parse(bytes);
            ObjectReader.Identify(bytes.AsSpan()[line.Object]);
        })
        { Declared = [typeof(ApiFaultException)], Words = JsonWords };
        yield return new("list", [Text(List)], bytes =>
        {
            var splitter = new ListSplitter(400, static (item, isWhole) =>
            {
                if (isWhole)
                    Kinds.Services.Read(item);
                else
                    ObjectReader.Identify(item);
            });
            for (var i = 0; i < bytes.Length; i += 97)
                splitter.Feed(bytes.AsSpan(i, Math.Min(97, bytes.Length - i)));
            splitter.Finish();
        })
        { Declared = [typeof(ApiFaultException)], Words = JsonWords };
        var cluster = new ClusterIdentity("x", "https://1.2.3.4:6443", "aa");
        yield return new("facts", [Text(FuzzSamples.Facts())], bytes => FactsFile.ReadAsync(new MemoryStream(bytes), cluster, CancellationToken.None).GetAwaiter().GetResult())
        {
            Declared = [typeof(FactsFileException)],
            LongestInput = 8192,
            Words = [.. JsonWords, .. Split("{\"service\":|{\"slice\":|\n|\n{\"service\":\n|{\"endpoints\":", '|')],
        };
    }

    private static string List => $"{{\"kind\":\"ServiceList\",\"apiVersion\":\"v1\",\"metadata\":{{\"resourceVersion\":\"7\",\"continue\":\"x\"}},\"items\":[{Objects[0]},{Objects[1]}]}}";

    private static IEnumerable<FuzzTarget> Yaml()
    {
        yield return new("yaml", [Text(FuzzSamples.KubeConfig), Text(FuzzSamples.Manifest), Text("a: {b: [1, 'two', \"three\"], c: &x |\n  text\n  more}\nd: *x\n- ? e : f\n"), Text("a: &a {x: 1}\nb: {<<: *a, y: 2}\nc: [<<, *a]\n"), .. OddYaml], bytes =>
        {
            if (YamlTree.Parse(Encoding.UTF8.GetString(bytes)) is { } value)
                YamlJson.Write(value, 1 << 20);
        })
        { Declared = [typeof(YamlFaultException)], Words = YamlWords };
        yield return new("manifest", [Text(FuzzSamples.Manifest), Text(List), .. OddYaml], bytes =>
        {
            var text = Encoding.UTF8.GetString(bytes);
            var before = ManifestFile.Parse("x.yaml", text);
            ManifestFile.Parse("x.yaml", text, before);
            ManifestFile.Parse("x.json", text);
        })
        { Words = [.. YamlWords, .. Split("kind: List\n|items:\n|kind: Service\n|metadata: {name: a}\n|apiVersion: v1\n", '|')] };
        yield return new("kubeconfig", [Text(FuzzSamples.KubeConfig), .. OddYaml], KubeConfiguration) { Declared = [typeof(ApiAccessException)], Words = YamlWords };
        var environment = new AgentEnvironment(name => name == "NODE_NAME" ? "edge-1" : null, "h");
        yield return new("config", [Text(FuzzSamples.Config), Text("modules: {edgeTunnel: {enable: true, psk: {path: /x}, addressRanges: [1.2.3.0/24], relayNodes: [{nodeName: a, advertiseAddress: [1.2.3.4]}]}}"), .. OddYaml], bytes =>
            ConfigFile.Parse("a.yaml", bytes, environment, new ConfigOverrides())) { Words = YamlWords };
    }

    private static void KubeConfiguration(byte[] bytes)
    {
        var file = Path.GetTempFileName();
        try
        {
            File.WriteAllBytes(file, bytes);
            KubeConfig.Load(file);
        }
        finally
        {
            File.Delete(file);
        }
    }

    private static IEnumerable<FuzzTarget> Programs()
    {
        yield return new("nft-listing", [Text(FuzzSamples.Nft), Text("chain {\n"), Text("set {\nmap {\nelements = {\n")], bytes => NftListing.Parse(Encoding.UTF8.GetString(bytes)))
        { LongestInput = 8000, Words = Split("chain | {|}|elements = { |set | }|\n", '|') };
        var plugin = new ExecPlugin(new ExecCommand { Program = "x", ApiVersion = "client.authentication.k8s.io/v1", Origin = "c" }, TimeProvider.System);
        yield return new("exec-credential", [Text(FuzzSamples.ExecCredential)], bytes => plugin.Parse(Encoding.UTF8.GetString(bytes), DateTimeOffset.UnixEpoch))
        { Declared = [typeof(ApiAccessException)], Words = [.. JsonWords, .. Split("\"expirationTimestamp\":\"9999-12-31T23:59:59Z\"|\"0001-01-01T00:00:00-14:00\"|\"clientKeyData\":", '|')] };
        yield return new("bound-ports", [Text(FuzzSamples.BoundPorts)], bytes =>
        {
            var lines = Encoding.UTF8.GetString(bytes).Split('\n');
            foreach (var (ipv6, tcp) in ((bool, bool)[])[(false, true), (true, false)])
                _ = BoundPorts.Parse(lines, ipv6, tcp).Count();
        })
        { Words = Split(" 0A | 07 |:|0100007F:0016|00000000000000000000000000000000:00CF", '|') };
        yield return new("iptables-save", [Text(FuzzSamples.Saved)], bytes =>
        {
            var text = Encoding.UTF8.GetString(bytes);
            SavedTables.Parse(text);
            SavedTables.Parse(text, "nat");
            Rule.Parse(text);
        })
        { LongestInput = 8000, Words = Split("-A |\"|\\|*nat|:|COMMIT| ! ", '|') };
        yield return new("psk", [Text("/key/swarm/psk/1.0.0/\n/base16/\n" + new string('a', 64)), Text("q1Zt0mXw7Lr4Yc9Vb2Ns6Kd8Hf3Jg5Ta1Pe0Uo7Iz4w=\n")], bytes =>
        {
            var text = Encoding.UTF8.GetString(bytes);
            _ = PreSharedKey.TryParse(text, out _);
            PresharedKeys.Parse(text, "x");
        })
        { Declared = [typeof(PresharedKeyException)] };
    }
}
