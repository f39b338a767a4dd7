using System.Globalization;
using System.Text;

namespace EdgeMesh.Testing.Lab;

/// <summary>Rules for services with one endpoint per family or none, in the shape in which a real kube-proxy wrote those in
/// tests/fixtures/kube-proxy: its masquerade, its marks, what it accepts and drops; for both families.</summary>
internal static class KubeProxyText
{
    public static string Iptables(IReadOnlyList<ManifestService> services, bool ipv6)
    {
        var text = new StringBuilder(
            """
            *mangle
            :KUBE-PROXY-CANARY - [0:0]
            COMMIT
            *filter
            :KUBE-FORWARD - [0:0]
            :KUBE-SERVICES - [0:0]
            -I FORWARD -m conntrack --ctstate NEW -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
            -I OUTPUT -m conntrack --ctstate NEW -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
            -I FORWARD -m comment --comment "kubernetes forwarding rules" -j KUBE-FORWARD
            -A KUBE-FORWARD -m conntrack --ctstate INVALID -j DROP
            -A KUBE-FORWARD -m comment --comment "kubernetes forwarding rules" -m mark --mark 0x4000/0x4000 -j ACCEPT
            -A KUBE-FORWARD -m comment --comment "kubernetes forwarding conntrack rule" -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT

            """);
        foreach (var (name, ip, port, _) in Ports(services, ipv6).Where(port => port.Endpoint is null))
            text.Append(CultureInfo.InvariantCulture, $"-A KUBE-SERVICES -d {ip} -p {port.Protocol.ToLowerInvariant()} -m comment --comment \"{name} has no endpoints\" -m {port.Protocol.ToLowerInvariant()} --dport {port.Port} -j REJECT --reject-with {(ipv6 ? "icmp6" : "icmp")}-port-unreachable\n");
        text.Append(
            """
            COMMIT
            *nat
            :KUBE-SERVICES - [0:0]
            :KUBE-MARK-MASQ - [0:0]
            :KUBE-POSTROUTING - [0:0]
            -I PREROUTING -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
            -I OUTPUT -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
            -I POSTROUTING -m comment --comment "kubernetes postrouting rules" -j KUBE-POSTROUTING
            -A KUBE-MARK-MASQ -j MARK --set-xmark 0x4000/0x4000
            -A KUBE-POSTROUTING -m mark ! --mark 0x4000/0x4000 -j RETURN
            -A KUBE-POSTROUTING -j MARK --set-xmark 0x4000/0x0
            -A KUBE-POSTROUTING -m comment --comment "kubernetes service traffic requiring SNAT" -j MASQUERADE --random-fully

            """);
        foreach (var (name, ip, port, endpoint) in Ports(services, ipv6).Where(port => port.Endpoint is not null))
        {
            var (protocol, key) = (port.Protocol.ToLowerInvariant(), $"{name}-{port.Protocol}");
            text.Append(
                CultureInfo.InvariantCulture,
                $"""
                :KUBE-SVC-{key} - [0:0]
                :KUBE-SEP-{key} - [0:0]
                -A KUBE-SERVICES -d {ip} -p {protocol} -m {protocol} --dport {port.Port} -j KUBE-SVC-{key}
                -A KUBE-SVC-{key} ! -s {PodRange(ipv6)} -d {ip} -p {protocol} -m {protocol} --dport {port.Port} -j KUBE-MARK-MASQ
                -A KUBE-SVC-{key} -j KUBE-SEP-{key}
                -A KUBE-SEP-{key} -s {endpoint} -j KUBE-MARK-MASQ
                -A KUBE-SEP-{key} -p {protocol} -m {protocol} -j DNAT --to-destination {At(endpoint!, port.TargetPort)}

                """);
        }

        return text.Append("COMMIT\n").ToString();
    }

    public static string Nftables(IReadOnlyList<ManifestService> services, bool ipv6)
    {
        var ip = ipv6 ? "ip6" : "ip";
        var ports = Ports(services, ipv6).ToList();
        var text = new StringBuilder(
            $$"""
            table {{ip}} kube-proxy {
              comment "rules for kube-proxy"
              set cluster-ips { type {{(ipv6 ? "ipv6" : "ipv4")}}_addr; elements = { {{string.Join(", ", ports.Select(port => port.Address).Distinct())}} }; }
              map no-endpoint-services { type {{(ipv6 ? "ipv6" : "ipv4")}}_addr . inet_proto . inet_service : verdict; }
              chain service-endpoints-check { {{ip}} daddr . meta l4proto . th dport vmap @no-endpoint-services; }
              chain filter-input { type filter hook input priority filter; policy accept; ct state new jump service-endpoints-check; }
              chain filter-forward { type filter hook forward priority filter; policy accept; ct state new jump service-endpoints-check; ct state new jump cluster-ips-check; }
              chain filter-output { type filter hook output priority filter; policy accept; ct state new jump service-endpoints-check; ct state new jump cluster-ips-check; }
              chain nat-prerouting { type nat hook prerouting priority dstnat; policy accept; jump services; }
              chain nat-output { type nat hook output priority -100; policy accept; jump services; }
              chain nat-postrouting { type nat hook postrouting priority srcnat; policy accept; jump masquerading; }
              chain masquerading {
                meta mark & 0x00004000 == 0x00000000 return
                meta mark set meta mark ^ 0x00004000
                masquerade fully-random
              }
              chain reject-chain { reject; }
              chain cluster-ips-check { {{ip}} daddr @cluster-ips reject; }
              chain mark-for-masquerade { meta mark set meta mark | 0x00004000; }
              map service-ips { type {{(ipv6 ? "ipv6" : "ipv4")}}_addr . inet_proto . inet_service : verdict; }
              chain services { {{ip}} daddr . meta l4proto . th dport vmap @service-ips; }

            """);
        foreach (var (name, address, port, endpoint) in ports.Where(port => port.Endpoint is not null))
        {
            var (protocol, key) = (port.Protocol.ToLowerInvariant(), $"{name}-{port.Protocol}");
            text.Append(
                CultureInfo.InvariantCulture,
                $$"""
                  chain endpoint-{{key}} {
                    {{ip}} saddr {{endpoint}} jump mark-for-masquerade
                    meta l4proto {{protocol}} dnat to {{At(endpoint!, port.TargetPort)}}
                  }
                  chain service-{{key}} {
                    {{ip}} daddr {{address}} {{ip}} saddr != {{PodRange(ipv6)}} jump mark-for-masquerade
                    numgen random mod 1 vmap { 0 : goto endpoint-{{key}} }
                  }

                """);
        }

        text.Append("}\n");
        foreach (var (name, address, port, endpoint) in ports)
        {
            var (map, chain) = endpoint is null ? ("no-endpoint-services", "reject-chain") : ("service-ips", $"service-{name}-{port.Protocol}");
            text.Append(CultureInfo.InvariantCulture, $"add element {ip} kube-proxy {map} {{ {address} . {port.Protocol.ToLowerInvariant()} . {port.Port} : goto {chain} }}\n");
        }

        return text.ToString();
    }

    private static string PodRange(bool ipv6) => ipv6 ? "fd00:10:244::/48" : "10.244.0.0/16";

    private static string At(string address, int port) => address.Contains(':', StringComparison.Ordinal) ? $"[{address}]:{port}" : $"{address}:{port}";

    private static IEnumerable<(string Name, string Address, ManifestPort Port, string? Endpoint)> Ports(IEnumerable<ManifestService> services, bool ipv6) =>
        from service in services
        from port in service.Ports
        let address = service.ClusterIPs.Single(ip => ip.Contains(':', StringComparison.Ordinal) == ipv6)
        let endpoint = service.Endpoints.SingleOrDefault(ip => ip.Contains(':', StringComparison.Ordinal) == ipv6)
        select (service.Name, address, port, endpoint);
}
