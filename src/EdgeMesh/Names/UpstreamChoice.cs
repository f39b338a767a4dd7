using System.Collections.Immutable;
using System.Net;
using EdgeMesh.Dns.Forwarding;
using EdgeMesh.Dns.Messages;
using EdgeMesh.Kubernetes;
using EdgeMesh.Kubernetes.Api;
using EdgeMesh.Net;

namespace EdgeMesh.Names;

/// <summary>Who is asked for a domain and everything below it.</summary>
/// <param name="Domain">Like <c>corp.example</c>.</param>
public sealed record StubDomain(string Domain, ImmutableArray<UpstreamServer> Servers);

/// <summary>Where names are asked for that this node does not answer itself, as the user wrote it.</summary>
public sealed record UpstreamRules
{
    /// <summary>Asked for every name; empty: the nameservers of the host's resolv.conf.</summary>
    public ImmutableArray<UpstreamServer> Servers { get; init; } = [];

    public ImmutableArray<StubDomain> StubDomains { get; init; } = [];

    /// <summary>The cluster's own DNS is asked for everything, and this node answers nothing itself.</summary>
    public bool FindClusterDns { get; init; }
}

/// <summary>What follows from the rules, the host and the cluster. Pure.</summary>
/// <param name="Notice">What a person has to know; null: nothing.</param>
public sealed record UpstreamChoice(UpstreamTable Table, string? Notice)
{
    private const int DnsPort = 53;
    private static readonly ObjectName[] _clusterDns = [new("kube-system", "coredns"), new("kube-system", "kube-dns")];

    /// <param name="resolvConf">The text of the host's resolv.conf; null: there is none that can be read.</param>
    /// <param name="own">Addresses at which this server answers at port 53.</param>
    public static UpstreamChoice Decide(UpstreamRules rules, string? resolvConf, IReadOnlyCollection<IPAddress> own, ClusterFacts? facts)
    {
        ArgumentNullException.ThrowIfNull(rules);
        ArgumentNullException.ThrowIfNull(own);
        string? notice = null;
        var servers = rules.Servers;
        if (rules.FindClusterDns)
        {
            servers = [.. ClusterDns(facts), .. servers];
            if (servers.IsEmpty)
                notice = "the cluster's DNS is not known (no service kube-system/coredns or kube-system/kube-dns, and none with the label k8s-app=kube-dns), so names are not answered; name its address in modules.edgeDNS.cacheDNS.upstreamServers";
        }
        else if (servers.IsEmpty)
        {
            var host = ResolvConf.Parse(resolvConf ?? "", own);
            servers = host.Servers;
            notice = (servers.IsEmpty, host.Own.IsEmpty) switch
            {
                (true, true) => $"the host's resolv.conf {(resolvConf is null ? "cannot be read" : "names no nameserver")}, so only the cluster's names are answered; name some in modules.edgeDNS.upstreamServers",
                (true, false) => $"the host's resolv.conf names only this agent itself ({string.Join(", ", host.Own)}), so only the cluster's names are answered; name others in modules.edgeDNS.upstreamServers",
                (false, false) => $"the host's resolv.conf names this agent itself ({string.Join(", ", host.Own)}); it is left out, and the other nameservers are asked",
                _ => null,
            };
        }

        var routes = ImmutableArray.CreateBuilder<UpstreamRoute>();
        foreach (var stub in rules.StubDomains)
        {
            if (WireName.FromText(stub.Domain) is not { } domain)
                continue;
            WireName.ToLower(domain, domain);
            routes.Add(new UpstreamRoute([.. domain], stub.Servers));
        }

        if (!servers.IsEmpty)
            routes.Add(new UpstreamRoute([0], servers));
        return new UpstreamChoice(new UpstreamTable(routes.DrainToImmutable()), notice);
    }

    /// <summary>Addresses of the services that are the cluster's DNS, as EdgeMesh finds them; headless ones have none.</summary>
    private static IEnumerable<UpstreamServer> ClusterDns(ClusterFacts? facts)
    {
        if (facts is null)
            return [];
        return facts.Services.Values
            .Where(service => Array.IndexOf(_clusterDns, service.Key) >= 0 || service.Metadata.Labels.GetValueOrDefault(Service.AppLabel) == "kube-dns")
            .OrderBy(service => service.Key.ToString(), StringComparer.Ordinal)
            .SelectMany(service => service.Spec.ClusterIPs.IsEmpty ? [service.Spec.ClusterIP ?? ""] : service.Spec.ClusterIPs)
            .Where(address => InetAddress.TryParse(address, out _))
            .Distinct(StringComparer.Ordinal)
            .Select(address => new UpstreamServer(new IPEndPoint(IPAddress.Parse(address), DnsPort)));
    }
}
