using System.Net;
using EdgeMesh.Net;

namespace EdgeMesh.Netfilter.Iptables;

/// <summary>Pure: chains of ours that must not stand (any more), and the text that removes them with the jumps to them.</summary>
internal static class Leftovers
{
    private const string OldChain = "EDGE-MESH", OldNonLocalChain = "KUBE-NODEPORT-NON-LOCAL";

    private static readonly string[] OldNodePortChains = ["KUBE-NODEPORT-CONTAINER", "KUBE-NODEPORT-HOST"];

    /// <summary>Whether the name is one that EdgeMesh gives or gave; what the chain has in it decides the rest.</summary>
    public static bool CanBe(string table, string chain) => table switch
    {
        "filter" => chain is ChainNames.Invalid or ChainNames.Forward or ChainNames.Input or OldNonLocalChain,
        "nat" => chain == OldChain || OldNodePortChains.Contains(chain)
            || chain.StartsWith("KUBE-PORTALS-", StringComparison.Ordinal) || chain.StartsWith("EDGEMESH-", StringComparison.Ordinal),
        _ => false,
    };

    /// <summary>Chains of older releases, and those under the prefix that is not chosen now.</summary>
    /// <param name="current">Null when nothing of ours shall stay here.</param>
    public static bool IsLeftover(SavedTables saved, string table, string chain, ChainNames? current, IReadOnlyCollection<InetAddress> listeners)
    {
        if (table == "filter")
        {
            return (current is null && chain is (ChainNames.Invalid or ChainNames.Forward or ChainNames.Input))
                || (chain == OldNonLocalChain && !UserspaceKubeProxy(saved, listeners));
        }

        if (table != "nat" || (current is not null && current.IsOurs(chain)))
            return false;
        return chain switch
        {
            OldChain or "EDGEMESH-PORTALS-CONTAINER" or "EDGEMESH-PORTALS-HOST" or ChainNames.Postrouting or ChainNames.Masquerade or ChainNames.Listener or ChainNames.Probe => true,
            "KUBE-PORTALS-CONTAINER" or "KUBE-PORTALS-HOST" => !UserspaceKubeProxy(saved, listeners),
            _ when OldNodePortChains.Contains(chain) => !UserspaceKubeProxy(saved, listeners),
            _ => chain.StartsWith(ChainNames.ServicePrefix, StringComparison.Ordinal),
        };
    }

    /// <summary>One transaction per table that has any.</summary>
    public static List<Transaction> Removal(SavedTables saved, ChainNames? current, IReadOnlyCollection<InetAddress> listeners)
    {
        var removals = new List<Transaction>();
        foreach (var table in (string[])["nat", "filter"])
        {
            var ours = saved.Names(table).Where(c => IsLeftover(saved, table, c, current, listeners)).ToList();
            if (ours.Count == 0)
                continue;
            var gone = ours.ToHashSet(StringComparer.Ordinal);
            var transaction = new Transaction(table);
            foreach (var chain in saved.ChainsOf(table).Where(c => !gone.Contains(c.Name) && current?.IsOurs(c.Name) != true))
            {
                foreach (var jump in chain.Rules.Where(r => gone.Contains(r.Text[(r.Text.LastIndexOf(' ') + 1)..])))
                    transaction.Delete(chain.Name, jump);
            }

            foreach (var chain in ours)
            {
                transaction.Declare(chain);
                transaction.DeleteChain(chain);
            }

            removals.Add(transaction);
        }

        return removals;
    }

    /// <summary>KUBE-PORTALS-* and KUBE-NODEPORT-* were also the names of kube-proxy's userspace mode (gone in Kubernetes 1.26),
    /// from which EdgeMesh took them. No other mode makes them, and a kube-proxy in another mode makes KUBE-SERVICES. So they are
    /// kube-proxy's only if KUBE-SERVICES is missing and a rule in them leads somewhere that EdgeMesh never led:
    /// a REDIRECT, or a DNAT to an address that is not the listener's.</summary>
    private static bool UserspaceKubeProxy(SavedTables saved, IReadOnlyCollection<InetAddress> listeners)
    {
        if (saved.HasChain("nat", "KUBE-SERVICES"))
            return false;
        string[] shared = ["KUBE-PORTALS-CONTAINER", "KUBE-PORTALS-HOST", .. OldNodePortChains];
        return shared.SelectMany(c => saved.Rules("nat", c)).Any(rule => rule.Target switch
        {
            "REDIRECT" => true,
            "DNAT" => !(IPEndPoint.TryParse(rule.Text[(rule.Text.LastIndexOf(' ') + 1)..], out var to) && listeners.Contains(InetAddress.From(to.Address))),
            _ => false,
        });
    }
}
