namespace EdgeMesh.Testing.Lab;

/// <summary>What makes the node one of those that users have.</summary>
public sealed partial class NamespaceLab
{
    private const string RemotePods = "10.244.1.0/24";
    private const string RemotePods6 = "fd00:10:244:1::/64";

    private void BuildPodOnBridge(IpBatch batch, string pod, IReadOnlyCollection<string> addresses)
    {
        var device = $"veth-{pod}";
        batch.Wire("node", device, pod, "eth0");
        batch.In("node", $"link set {device} master cni0 up", $"link set {device} type bridge_slave hairpin {(Host.Hairpin ? "on" : "off")}");
        batch.In(
            pod,
            [
                "link set lo up",
                "link set eth0 up",
                .. addresses.Select(address => address.Contains(':', StringComparison.Ordinal) ? $"addr add {address}/64 dev eth0 nodad" : $"addr add {address}/24 dev eth0"),
                $"route add default via {LabAddresses.Gateway}",
                $"route add ::/0 via {LabAddresses.Gateway6}",
            ]);
    }

    private void BuildHost(IpBatch batch)
    {
        if (Host.HasLan)
            BuildLan(batch);
        if (Host.SecondNetwork)
            BuildSecondNetwork(batch);
        switch (Host.ToOtherNode)
        {
            case LabWay.SecondCard:
                BuildSecondCard(batch);
                break;
            case LabWay.Vxlan:
                BuildVxlan(batch);
                break;
        }

        if (!Host.HasDefaultRoute)
        {
            // Without it the node knows the pods next door only by a route of their own.
            batch.In(
                "node",
                $"route add {RemotePods} via {LabAddresses.Outside}",
                $"route add {RemotePods6} via {LabAddresses.Outside6}",
                "route del default",
                "route del ::/0");
        }
    }

    /// <summary>What is set when the devices are there.</summary>
    private async Task SettleHostAsync()
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
            // Whether a client is told that it is refused shall not depend on how much was asked in the same second, here or in another
            // lab: what no mask names is not counted to the limit of the whole machine either.
            Node.SetSysctl("ipv4/icmp_ratemask", "0");
            Node.SetSysctl("ipv6/icmp/ratemask", "0");
        }

        switch (Host.ToOtherNode)
        {
            case LabWay.SecondCard:
                foreach (var device in (string[])["all", "eth0", "eth1", "lan0"])
                    this["outside"].SetSysctl($"ipv4/conf/{device}/rp_filter", "1");
                break;
            case LabWay.Vxlan:
                foreach (var (role, other, remote) in new[] { ("node", 1, LabAddresses.Outside), ("outside", 0, LabAddresses.Node) })
                    (await RunAsync(role, "bridge", "fdb", "add", $"02:00:00:00:01:0{other}", "dev", "flannel.1", "dst", remote)).Succeeded();
                break;
        }

        if (Host.StrictReversePath)
        {
            foreach (var device in Node.Run(() => Directory.GetFileSystemEntries("/proc/sys/net/ipv4/conf").Select(Path.GetFileName).ToArray()))
                Node.SetSysctl($"ipv4/conf/{device}/rp_filter", "1");
        }
    }

    /// <summary>The wire between node and outside becomes a network of three machines.</summary>
    private static void BuildLan(IpBatch batch)
    {
        batch.Wire("outside", "to-lan", "lan", "eth0");
        batch.In(
            "outside",
            "link add lan0 type bridge",
            "link set lan0 up",
            "link set eth0 master lan0",
            $"addr del {LabAddresses.Outside}/24 dev eth0",
            $"addr del {LabAddresses.Outside6}/64 dev eth0",
            $"addr add {LabAddresses.Outside}/24 dev lan0",
            $"addr add {LabAddresses.Outside6}/64 dev lan0 nodad",
            "link set to-lan master lan0 up",
            $"route replace 10.244.0.0/24 via {LabAddresses.Node}",
            $"route replace fd00:10:244::/64 via {LabAddresses.Node6}");
        batch.In(
            "lan",
            "link set lo up",
            "link set eth0 up",
            $"addr add {LabAddresses.Lan}/24 dev eth0",
            $"addr add {LabAddresses.Lan6}/64 dev eth0 nodad",
            $"route add 10.96.0.0/16 via {LabAddresses.Node}",
            $"route add fd00:10:96::/48 via {LabAddresses.Node6}");
    }

    private static void BuildSecondNetwork(IpBatch batch)
    {
        batch.In("node", "link add br1 type bridge", "link set br1 up", $"addr add {LabAddresses.Second("node")}/24 dev br1", $"addr add {LabAddresses.Second6("node")}/64 dev br1 nodad");
        foreach (var pod in (string[])["client", "a", "b"])
        {
            batch.Wire("node", $"second-{pod}", pod, "eth1");
            batch.In("node", $"link set second-{pod} master br1 up", $"link set second-{pod} type bridge_slave hairpin on");
            batch.In(pod, "link set eth1 up", $"addr add {LabAddresses.Second(pod)}/24 dev eth1", $"addr add {LabAddresses.Second6(pod)}/64 dev eth1 nodad");
        }
    }

    private static void BuildSecondCard(IpBatch batch)
    {
        batch.Wire("node", "card2", "outside", "eth1");
        batch.In(
            "node",
            "link set card2 up",
            "addr add 10.210.0.2/24 dev card2",
            "addr add fd00:10:210::2/64 dev card2 nodad",
            $"route add {RemotePods} via 10.210.0.1",
            $"route add {RemotePods6} via fd00:10:210::1");
        batch.In(
            "outside",
            "link set eth1 up",
            "addr add 10.210.0.1/24 dev eth1",
            "addr add fd00:10:210::1/64 dev eth1 nodad",
            "route replace 10.244.0.0/24 via 10.210.0.2",
            "route replace fd00:10:244::/64 via fd00:10:210::2");
    }

    private static void BuildVxlan(IpBatch batch)
    {
        // The kernel takes no neighbour for a gateway that it has another way to.
        batch.In("outside", "route del 10.244.0.0/24", "route del fd00:10:244::/64");
        foreach (var (role, device, own, other) in new[] { ("node", "uplink", 0, 1), ("outside", "lan0", 1, 0) })
        {
            batch.In(
                role,
                $"link add flannel.1 type vxlan id 1 dstport 8472 local {(own == 0 ? LabAddresses.Node : LabAddresses.Outside)} dev {device} nolearning",
                $"link set flannel.1 address 02:00:00:00:01:0{own} up",
                $"addr add 10.244.{own}.0/32 dev flannel.1",
                $"addr add fd00:10:244:{own}::/128 dev flannel.1 nodad",
                $"neigh add 10.244.{other}.0 lladdr 02:00:00:00:01:0{other} dev flannel.1 nud permanent",
                $"neigh add fd00:10:244:{other}:: lladdr 02:00:00:00:01:0{other} dev flannel.1 nud permanent",
                $"route add 10.244.{other}.0/24 via 10.244.{other}.0 dev flannel.1 onlink",
                $"route add fd00:10:244:{other}::/64 via fd00:10:244:{other}:: dev flannel.1 onlink");
        }
    }
}
