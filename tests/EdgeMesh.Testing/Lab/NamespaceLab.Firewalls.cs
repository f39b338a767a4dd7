namespace EdgeMesh.Testing.Lab;

public sealed partial class NamespaceLab
{
    /// <param name="variant">In which iptables the policies are.</param>
    public Task RaiseFirewallAsync(LabFirewall firewall, IptablesVariant variant) => firewall switch
    {
        LabFirewall.ForwardPolicy => DropByPolicyAsync(variant, "FORWARD"),
        LabFirewall.InputPolicy => DropByPolicyAsync(variant, "INPUT"),
        LabFirewall.Policies => DropByPolicyAsync(variant, "INPUT", "FORWARD"),
        LabFirewall.ForwardChain => NftAsync($"table inet site {{ {DroppingChain("forward")} }}"),
        LabFirewall.InputChain => NftAsync($"table inet site {{ {DroppingChain("input")} }}"),
        LabFirewall.Chains => NftAsync($"table inet site {{ {DroppingChain("input")} {DroppingChain("forward")} }}"),
        LabFirewall.Firewalld => NftAsync(Firewalld),
        LabFirewall.ShutBridge => RestoreFilterAsync(variant, _ =>
        [
            ":DOCKER - [0:0]",
            "-A FORWARD -j DOCKER",
            "-A DOCKER -o cni0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
            "-A DOCKER ! -i cni0 -o cni0 -j DROP",
        ]),
        _ => Task.CompletedTask,
    };

    private static string DroppingChain(string hook) =>
        $$"""
        chain filter-{{hook}} {
          type filter hook {{hook}} priority 10; policy drop;
          ct state established,related accept
          iifname "lo" accept
          meta l4proto { icmp, ipv6-icmp } accept
          udp dport 8472 accept
        }

        """;

    /// <summary>As firewalld 1.3 writes it, without the chains of its zones; of what those let through, neighbours' questions.</summary>
    private const string Firewalld =
        """
        table inet firewalld {
          chain filter_PREROUTING {
            type filter hook prerouting priority filter + 10; policy accept;
            icmpv6 type { nd-router-advert, nd-neighbor-solicit } accept
            meta nfproto ipv6 fib saddr . mark . iif oif missing drop
          }
          chain filter_INPUT {
            type filter hook input priority filter + 10; policy accept;
            ct state { established, related } accept
            ct status dnat accept
            iifname "lo" accept
            ct state invalid drop
            meta l4proto { icmp, ipv6-icmp } accept
            reject with icmpx admin-prohibited
          }
          chain filter_FORWARD {
            type filter hook forward priority filter + 10; policy accept;
            ct state { established, related } accept
            ct status dnat accept
            iifname "lo" accept
            ct state invalid drop
            meta l4proto { icmp, ipv6-icmp } accept
            reject with icmpx admin-prohibited
          }
        }
        """;

    private async Task NftAsync(string ruleset) => (await RunWithInputAsync("node", ruleset, "nft", "-f", "-")).Succeeded();

    private Task DropByPolicyAsync(IptablesVariant variant, params string[] chains) => RestoreFilterAsync(variant, icmp => chains.SelectMany(chain => (string[])
    [
        $"-P {chain} DROP",
        $"-A {chain} -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
        $"-A {chain} -i lo -j ACCEPT",
        $"-A {chain} -p {icmp} -j ACCEPT",
    ]));

    /// <param name="lines">What is added, from the name of the family's ICMP.</param>
    private async Task RestoreFilterAsync(IptablesVariant variant, Func<string, IEnumerable<string>> lines)
    {
        foreach (var (iptables, icmp) in new[] { ("iptables", "icmp"), ("ip6tables", "ipv6-icmp") })
            (await RunWithInputAsync("node", $"*filter\n{string.Join('\n', lines(icmp))}\nCOMMIT\n", Program(variant, iptables) + "-restore", "--noflush", "-w", "5")).Succeeded();
    }
}
