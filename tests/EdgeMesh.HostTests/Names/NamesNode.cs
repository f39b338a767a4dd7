using EdgeMesh.Testing.Lab;

namespace EdgeMesh.HostTests.Names;

/// <summary>A node whose agent answers names, and a real resolver (unbound) on the machine outside that knows a few of the world's.</summary>
internal sealed class NamesNode : IAsyncDisposable
{
    public const string Server = "169.254.96.16";
    public const string Server6 = "fd0e:6d65:7368::10";

    /// <summary>Services of each kind.</summary>
    private const string Manifests = """
        apiVersion: v1
        kind: Namespace
        metadata: {name: empty}
        ---
        apiVersion: v1
        kind: Service
        metadata: {name: web, namespace: demo}
        spec:
          type: ClusterIP
          clusterIP: 10.96.10.1
          clusterIPs: ["10.96.10.1", "fd00:10:96::7"]
          ports: [{name: http, port: 80, targetPort: 8081}, {name: metrics, port: 9090, targetPort: 8081}]
        ---
        apiVersion: v1
        kind: Service
        metadata: {name: left, namespace: demo, labels: {service.edgemesh.kubeedge.io/service-proxy-name: ""}}
        spec: {type: ClusterIP, clusterIP: 10.96.10.9, clusterIPs: ["10.96.10.9"], ports: [{port: 80}]}
        ---
        apiVersion: v1
        kind: Service
        metadata: {name: ext, namespace: demo}
        spec: {type: ExternalName, externalName: www.example}
        ---
        apiVersion: v1
        kind: Service
        metadata: {name: db, namespace: demo}
        spec: {type: ClusterIP, clusterIP: None, clusterIPs: [None], ports: [{name: sql, port: 5432}]}
        ---
        apiVersion: discovery.k8s.io/v1
        kind: EndpointSlice
        metadata: {name: db-1, namespace: demo, labels: {kubernetes.io/service-name: db, service.kubernetes.io/headless: ""}}
        addressType: IPv4
        ports: [{name: sql, port: 5432, protocol: TCP}]
        endpoints:
        - {addresses: ["10.244.0.11"], hostname: db-0, conditions: {ready: true}}
        - {addresses: ["10.244.0.12"], hostname: db-1, conditions: {ready: false}}
        - {addresses: ["10.244.0.21"], conditions: {ready: true}}
        """;

    private NamesNode(NamespaceLab lab) => Lab = lab;

    public NamespaceLab Lab { get; }

    public AgentProcess Agent { get; private set; } = null!;

    public LabProcess Upstream { get; private set; } = null!;

    public AgentOptions Options { get; private set; } = null!;

    public string ResolvConf => Path.Combine(Lab.Folder, "resolv.conf");

    /// <param name="edgeDns">Further lines below modules.edgeDNS.</param>
    /// <param name="before">Runs when the node stands, before the agent starts.</param>
    public static async Task<NamesNode> StartAsync(IReadOnlyList<string>? edgeDns = null, Func<NamesNode, Task>? before = null)
    {
        var node = new NamesNode(await NamespaceLab.CreateAsync());
        try
        {
            node.Lab.Manifests.WriteText("names.yaml", Manifests);
            node.Upstream = await node.StartUnboundAsync("outside", LabAddresses.Outside);
            await File.WriteAllTextAsync(node.ResolvConf, $"nameserver {LabAddresses.Outside}\n");
            if (before is not null)
                await before(node);
            node.Options = new AgentOptions
            {
                Config = new AgentConfig { Modules = ["edgeDNS:", "  enable: true", $"  resolvConf: {node.ResolvConf}", .. (edgeDns ?? []).Select(line => "  " + line)] },
            };
            node.Agent = await node.Lab.StartAgentAsync(node.Options);
            return node;
        }
        catch
        {
            await node.DisposeAsync();
            throw;
        }
    }

    /// <summary>A resolver that knows <c>www.example</c>, an answer that no datagram holds, and that nothing else exists.</summary>
    public async Task<LabProcess> StartUnboundAsync(string role, string address)
    {
        var file = Path.Combine(Lab.Folder, $"unbound-{role}.conf");
        var big = string.Join("\n", Enumerable.Range(1, 150).Select(i => $"  local-data: \"big.example. 60 IN A 198.51.100.{i}\""));
        await File.WriteAllTextAsync(file, $"""
            server:
              interface: {address}
              access-control: 0.0.0.0/0 allow
              access-control: ::/0 allow
              username: ""
              chroot: ""
              pidfile: ""
              directory: "{Lab.Folder}"
              use-syslog: no
              do-daemonize: no
              num-threads: 1
              module-config: "iterator"
              local-zone: "." static
              local-data: ". 60 IN SOA ns.example. root.example. 1 3600 600 86400 60"
              local-data: "www.example. 60 IN A 192.0.2.9"
              local-data: "www.example. 60 IN AAAA 2001:db8::9"
              local-data: "short.example. 1 IN A 192.0.2.10"
              local-data: "who.example. 0 IN TXT {role}"
            {big}
            remote-control:
              control-enable: no
            """);
        var unbound = Lab.Start(role, "unbound", "-d", "-c", file);
        await Eventually.SeesAsync(async () => await DigAsync(role, address, "www.example", "A"), answer => answer.Code == "NOERROR", TimeSpan.FromSeconds(20), "unbound answers");
        return unbound;
    }

    /// <summary>Asks with dig, once.</summary>
    public async Task<DigAnswer> DigAsync(string role, string server, params string[] question)
    {
        var result = await Lab.RunAsync(role, "dig", ["+tries=1", "+time=6", "+noall", "+comments", "+answer", "+ttlid", $"@{server}", .. question]);
        return DigAnswer.Parse(result.Output);
    }

    public Task<CommandResult> NameAsync(params string[] arguments) => Lab.AgentCommandAsync(["dns", .. arguments, "--config-file", Lab.ConfigFile]);

    public Task<CommandResult> StatusAsync() => Lab.AgentCommandAsync("status", "--config-file", Lab.ConfigFile);

    /// <summary>Runs a program in the client pod with a resolv.conf as kubelet writes it into pods.</summary>
    public Task<CommandResult> InPodAsync(params string[] command)
    {
        var file = Path.Combine(Lab.Folder, "pod-resolv.conf");
        File.WriteAllText(file, $"nameserver {Server}\nsearch demo.svc.cluster.local svc.cluster.local cluster.local\noptions ndots:5\n");
        // With mounts of its own.
        return Lab.RunAsync("client", "unshare", ["--mount", "sh", "-c", $"mount --bind {file} /etc/resolv.conf && exec \"$@\"", "sh", .. command]);
    }

    /// <summary>Another agent has taken over.</summary>
    public void Replace(AgentProcess successor) => Agent = successor;

    public ValueTask DisposeAsync() => Lab.DisposeAsync();
}

/// <param name="Code">NOERROR, NXDOMAIN …; "none" where nothing came.</param>
/// <param name="Records">Type and data of each answer, in their order: <c>A 10.96.10.1</c>.</param>
/// <param name="Flags">Like <c>qr aa rd ra</c>.</param>
internal sealed record DigAnswer(string Code, IReadOnlyList<string> Records, string Flags)
{
    public static DigAnswer Parse(string output)
    {
        var lines = output.Split('\n', StringSplitOptions.TrimEntries | StringSplitOptions.RemoveEmptyEntries);
        var code = lines.Select(line => Between(line, "status: ", ",")).FirstOrDefault(found => found is not null) ?? "none";
        var flags = lines.Select(line => Between(line, ";; flags: ", ";")).FirstOrDefault(found => found is not null) ?? "";
        var records = lines.Where(line => line[0] != ';').Select(line => line.Split([' ', '\t'], 5, StringSplitOptions.RemoveEmptyEntries)).Where(words => words.Length == 5);
        return new DigAnswer(code, [.. records.Select(words => $"{words[3]} {words[4]}")], flags);
    }

    /// <summary>In no order: the code, then the records.</summary>
    public override string ToString() => string.Join('\n', [Code, .. Records.Order(StringComparer.Ordinal)]);

    private static string? Between(string line, string before, string after)
    {
        var start = line.IndexOf(before, StringComparison.Ordinal);
        var end = start < 0 ? -1 : line.IndexOf(after, start + before.Length, StringComparison.Ordinal);
        return end < 0 ? null : line[(start + before.Length)..end];
    }
}
