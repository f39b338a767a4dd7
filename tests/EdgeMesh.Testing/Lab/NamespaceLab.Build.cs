namespace EdgeMesh.Testing.Lab;

public sealed partial class NamespaceLab
{
    private static string FixtureFolder { get; } = Path.Combine(AppContext.BaseDirectory, "fixtures", "kube-proxy");

    /// <summary>A kube-proxy starts: its recorded rules are added to what stands, and its nat jumps go in at position 1,
    /// as it does with a jump that is missing. Once per lab and mode; rules of another mode are not removed.</summary>
    public async Task StartKubeProxyAsync(KubeProxyRules rules)
    {
        if (rules == KubeProxyRules.None)
            return;
        if (rules == KubeProxyRules.Nftables)
        {
            (await RunAsync("node", "nft", "-f", Path.Combine(FixtureFolder, "nftables.nft"))).Succeeded();
            return;
        }

        var recorded = await File.ReadAllTextAsync(Path.Combine(FixtureFolder, "iptables.rules"));
        var nat = recorded.IndexOf("*nat", StringComparison.Ordinal);
        var inserted = recorded[..nat] + recorded[nat..]
            .Replace("-A PREROUTING ", "-I PREROUTING ", StringComparison.Ordinal)
            .Replace("-A OUTPUT ", "-I OUTPUT ", StringComparison.Ordinal)
            .Replace("-A POSTROUTING ", "-I POSTROUTING ", StringComparison.Ordinal);
        (await RunWithInputAsync("node", inserted, RestoreProgram(rules), "--noflush", "-w", "5")).Succeeded();
    }

    /// <summary>A kube-proxy starts that knows these services, each with one endpoint per family, and works as <paramref name="rules"/> says.</summary>
    public async Task StartKubeProxyAsync(KubeProxyRules rules, IReadOnlyList<ManifestService> services)
    {
        foreach (var ipv6 in (bool[])[false, true])
        {
            if (rules == KubeProxyRules.Nftables)
                (await RunWithInputAsync("node", KubeProxyText.Nftables(services, ipv6), "nft", "-f", "-")).Succeeded();
            else
                (await RunWithInputAsync("node", KubeProxyText.Iptables(services, ipv6), (ipv6 ? "ip6" : "ip") + RestoreProgram(rules)[2..], "--noflush", "-w", "5")).Succeeded();
        }
    }

    /// <summary>A kube-proxy ends and another starts: in nftables mode its hooks are registered anew, behind all others of
    /// their priority; in iptables mode it writes its chains again and finds its jumps where they were.</summary>
    public async Task RestartKubeProxyAsync(KubeProxyRules rules)
    {
        if (rules == KubeProxyRules.Nftables)
        {
            await RunAsync("node", "nft", "delete", "table", "ip", "kube-proxy");
            await RunAsync("node", "nft", "delete", "table", "ip6", "kube-proxy");
            await StartKubeProxyAsync(rules);
            return;
        }

        var recorded = await File.ReadAllTextAsync(Path.Combine(FixtureFolder, "iptables.rules"));
        var nat = recorded[recorded.IndexOf("*nat", StringComparison.Ordinal)..].Split('\n').Where(line =>
            !line.StartsWith("-A PREROUTING ", StringComparison.Ordinal)
            && !line.StartsWith("-A OUTPUT ", StringComparison.Ordinal)
            && !line.StartsWith("-A POSTROUTING ", StringComparison.Ordinal)
            && !line.Contains(" ACCEPT ", StringComparison.Ordinal));
        (await RunWithInputAsync("node", string.Join('\n', nat), RestoreProgram(rules), "--noflush", "-w", "5")).Succeeded();
        await KubeProxySyncAsync(rules == KubeProxyRules.IptablesNft ? IptablesVariant.Nft : IptablesVariant.Legacy);
    }

    private static string RestoreProgram(KubeProxyRules rules) =>
        rules == KubeProxyRules.IptablesNft ? "iptables-nft-restore" : "iptables-legacy-restore";

    private string NameOf(string role) => $"{Name}-{role}";

    private async Task BuildAsync()
    {
        await IpBatch.RunAsync(null, _roles.Select(role => $"netns add {NameOf(role)}"));
        foreach (var role in _roles)
        {
            var space = new NetworkNamespace(NameOf(role));
            _namespaces.Add(role, space);
            space.SetSysctl("ipv6/conf/all/disable_ipv6", "0");
            space.SetSysctl("ipv6/conf/default/accept_dad", "0");
            space.SetSysctl("ipv4/conf/all/rp_filter", "0");
            space.SetSysctl("ipv4/conf/default/rp_filter", "0");
        }

        // Outside answers what it has no route for with ICMP, so that a connection that nobody takes fails at once.
        foreach (var role in (string[])[.. Host.Forwards ? ["node"] : (string[])[], "outside"])
        {
            this[role].SetSysctl("ipv4/ip_forward", "1");
            this[role].SetSysctl("ipv6/conf/all/forwarding", "1");
        }

        var batch = new IpBatch(NameOf);
        BuildNode(batch);
        foreach (var (pod, addresses) in new[] { ("client", [LabAddresses.Client, LabAddresses.Client6]), ("a", LabAddresses.PodA), ("b", LabAddresses.PodB) })
        {
            if (Host.OnBridge)
                BuildPodOnBridge(batch, pod, addresses);
            else
                BuildPod(batch, pod, addresses);
        }

        BuildOutside(batch);
        BuildHost(batch);
        await batch.RunAsync();
        await SettleHostAsync();
    }

    private void BuildNode(IpBatch batch)
    {
        batch.Wire("node", "uplink", "outside", "eth0");
        batch.In(
            "node",
            "link set lo up",
            "link add cni0 type bridge",
            "link set cni0 up",
            $"addr add {LabAddresses.Gateway}/{(Host.OnBridge ? 24 : 32)} dev cni0",
            $"addr add {LabAddresses.Gateway6}/{(Host.OnBridge ? 64 : 128)} dev cni0 nodad",
            "link set uplink up",
            $"addr add {LabAddresses.Node}/24 dev uplink",
            $"addr add {LabAddresses.Node6}/64 dev uplink nodad");
    }

    private static void BuildPod(IpBatch batch, string pod, IReadOnlyCollection<string> addresses)
    {
        var device = $"veth-{pod}";
        batch.Wire("node", device, pod, "eth0");
        batch.In("node", $"addr add fe80::1/64 dev {device} nodad", $"link set {device} up");
        batch.In(
            pod,
            [
                "link set lo up",
                "link set eth0 up",
                .. addresses.Select(address => $"addr add {address}/{Bits(address)} dev eth0{(address.Contains(':', StringComparison.Ordinal) ? " nodad" : "")}"),
                $"route add {LabAddresses.Gateway}/32 dev eth0 scope link",
                $"route add default via {LabAddresses.Gateway} dev eth0",
                "route add ::/0 via fe80::1 dev eth0",
            ]);
        batch.In(
            "node",
            addresses.Select(address => address.Contains(':', StringComparison.Ordinal)
                ? $"route add {address}/128 dev {device} src {LabAddresses.Gateway6}"
                : $"route add {address}/32 dev {device} src {LabAddresses.Gateway}"));
    }

    private static void BuildOutside(IpBatch batch)
    {
        batch.In(
            "outside",
            "link set lo up",
            "link set eth0 up",
            $"addr add {LabAddresses.Outside}/24 dev eth0",
            $"addr add {LabAddresses.Outside6}/64 dev eth0 nodad",
            $"addr add {LabAddresses.RemotePod}/32 dev lo",
            $"addr add {LabAddresses.RemotePod6}/128 dev lo nodad",
            $"route add 10.244.0.0/24 via {LabAddresses.Node}",
            $"route add fd00:10:244::/64 via {LabAddresses.Node6}");
        batch.In(
            "node",
            $"route add default via {LabAddresses.Outside}",
            $"route add ::/0 via {LabAddresses.Outside6}");
    }

    private static int Bits(string address) => address.Contains(':', StringComparison.Ordinal) ? 128 : 32;
}
