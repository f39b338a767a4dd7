namespace EdgeMesh.Testing.Lab;

/// <summary>What makes the node one of those that users have.</summary>
public sealed partial class NamespaceLab
{
    private const string RemotePods = "10.244.1.0/24";
    private const string RemotePods6 = "fd00:10:244:1::/64";

    private async Task BuildPodOnBridgeAsync(string pod, IReadOnlyCollection<string> addresses)
    {
        var device = $"veth-{pod}";
        await IpAsync(
            [
                $"link add {device} type veth peer name eth0 netns {NameOf(pod)}",
                $"link set {device} master cni0 up",
                $"link set {device} type bridge_slave hairpin {(Host.Hairpin ? "on" : "off")}",
            ],
            "node");
        await IpAsync(
            [
                "link set lo up",
                "link set eth0 up",
                .. addresses.Select(address => address.Contains(':', StringComparison.Ordinal) ? $"addr add {address}/64 dev eth0 nodad" : $"addr add {address}/24 dev eth0"),
                $"route add default via {LabAddresses.Gateway}",
                $"route add ::/0 via {LabAddresses.Gateway6}",
            ],
            pod);
    }

    private async Task BuildHostAsync()
    {
        if (Host is { OnBridge: true, BridgeNetfilter: true })
            LabRequirements.CheckBridgeNetfilter();
        if (Host.OnBridge && Directory.Exists("/proc/sys/net/bridge"))
        {
            foreach (var key in (string[])["iptables", "ip6tables"])
                Node.SetSysctl($"bridge/bridge-nf-call-{key}", Host.BridgeNetfilter ? "1" : "0");
        }

        if (Host.HasLan)
        {
            await BuildLanAsync();
            // Whether a client is told that it is refused shall not depend on how much was asked in the same second.
            Node.SetSysctl("ipv4/icmp_ratelimit", "0");
            Node.SetSysctl("ipv6/icmp/ratelimit", "0");
        }

        await (Host.ToOtherNode switch
        {
            LabWay.SecondCard => BuildSecondCardAsync(),
            LabWay.Vxlan => BuildVxlanAsync(),
            _ => Task.CompletedTask,
        });
        if (!Host.HasDefaultRoute)
        {
            // Without it the node knows the pods next door only by a route of their own.
            await IpAsync(
                [
                    $"route add {RemotePods} via {LabAddresses.Outside}",
                    $"route add {RemotePods6} via {LabAddresses.Outside6}",
                    "route del default",
                    "route del ::/0",
                ],
                "node");
        }

        if (Host.StrictReversePath)
        {
            foreach (var device in Node.Run(() => Directory.GetFileSystemEntries("/proc/sys/net/ipv4/conf").Select(Path.GetFileName).ToArray()))
                Node.SetSysctl($"ipv4/conf/{device}/rp_filter", "1");
        }
    }

    /// <summary>The wire between node and outside becomes a network of three machines.</summary>
    private async Task BuildLanAsync()
    {
        await IpAsync(
            [
                "link add lan0 type bridge",
                "link set lan0 up",
                "link set eth0 master lan0",
                $"addr del {LabAddresses.Outside}/24 dev eth0",
                $"addr del {LabAddresses.Outside6}/64 dev eth0",
                $"addr add {LabAddresses.Outside}/24 dev lan0",
                $"addr add {LabAddresses.Outside6}/64 dev lan0 nodad",
                $"link add to-lan type veth peer name eth0 netns {NameOf("lan")}",
                "link set to-lan master lan0 up",
                $"route replace 10.244.0.0/24 via {LabAddresses.Node}",
                $"route replace fd00:10:244::/64 via {LabAddresses.Node6}",
            ],
            "outside");
        await IpAsync(
            [
                "link set lo up",
                "link set eth0 up",
                $"addr add {LabAddresses.Lan}/24 dev eth0",
                $"addr add {LabAddresses.Lan6}/64 dev eth0 nodad",
                $"route add 10.96.0.0/16 via {LabAddresses.Node}",
                $"route add fd00:10:96::/48 via {LabAddresses.Node6}",
            ],
            "lan");
    }

    private async Task BuildSecondCardAsync()
    {
        await IpAsync(
            [
                $"link add card2 type veth peer name eth1 netns {NameOf("outside")}",
                "link set card2 up",
                "addr add 10.210.0.2/24 dev card2",
                "addr add fd00:10:210::2/64 dev card2 nodad",
                $"route add {RemotePods} via 10.210.0.1",
                $"route add {RemotePods6} via fd00:10:210::1",
            ],
            "node");
        await IpAsync(
            [
                "link set eth1 up",
                "addr add 10.210.0.1/24 dev eth1",
                "addr add fd00:10:210::1/64 dev eth1 nodad",
                "route replace 10.244.0.0/24 via 10.210.0.2",
                "route replace fd00:10:244::/64 via fd00:10:210::2",
            ],
            "outside");
        foreach (var device in (string[])["all", "eth0", "eth1", "lan0"])
            this["outside"].SetSysctl($"ipv4/conf/{device}/rp_filter", "1");
    }

    private async Task BuildVxlanAsync()
    {
        // The kernel takes no neighbour for a gateway that it has another way to.
        await IpAsync(["route del 10.244.0.0/24", "route del fd00:10:244::/64"], "outside");
        foreach (var (role, device, own, other) in new[] { ("node", "uplink", 0, 1), ("outside", "lan0", 1, 0) })
        {
            var (local, remote) = own == 0 ? (LabAddresses.Node, LabAddresses.Outside) : (LabAddresses.Outside, LabAddresses.Node);
            await IpAsync(
                [
                    $"link add flannel.1 type vxlan id 1 dstport 8472 local {local} dev {device} nolearning",
                    $"link set flannel.1 address 02:00:00:00:01:0{own} up",
                    $"addr add 10.244.{own}.0/32 dev flannel.1",
                    $"addr add fd00:10:244:{own}::/128 dev flannel.1 nodad",
                    $"neigh add 10.244.{other}.0 lladdr 02:00:00:00:01:0{other} dev flannel.1 nud permanent",
                    $"neigh add fd00:10:244:{other}:: lladdr 02:00:00:00:01:0{other} dev flannel.1 nud permanent",
                    $"route add 10.244.{other}.0/24 via 10.244.{other}.0 dev flannel.1 onlink",
                    $"route add fd00:10:244:{other}::/64 via fd00:10:244:{other}:: dev flannel.1 onlink",
                ],
                role);
            (await RunAsync(role, "bridge", "fdb", "add", $"02:00:00:00:01:0{other}", "dev", "flannel.1", "dst", remote)).Succeeded();
        }
    }
}
