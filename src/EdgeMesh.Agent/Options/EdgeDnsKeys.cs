using System.Collections.Immutable;
using System.Net;
using EdgeMesh.Dns.Forwarding;
using EdgeMesh.Dns.Messages;
using EdgeMesh.Kubernetes.Yaml;
using EdgeMesh.Names;
using static EdgeMesh.Agent.Options.KeyKinds;

namespace EdgeMesh.Agent.Options;

/// <summary>A key that says true, false, or leaves it to the node.</summary>
internal enum Switch
{
    Auto,
    On,
    Off,
}

internal static class EdgeDnsKeys
{
    public static readonly ConfigKey<Switch> DnsEnable = new("modules.edgeDNS.enable", "auto | true | false", Switch.Auto,
        "auto: on edge nodes that ask a metaServer, as the Go agent has it, and off elsewhere.",
        ReadSwitch, v => v switch { Switch.On => "true", Switch.Off => "false", _ => "auto" });

    public static readonly ConfigKey<int> ListenPort = Port("modules.edgeDNS.listenPort", 53,
        "Its port on the device's addresses, UDP and TCP. Where another program has it, the agent says so, forwards without names, and asks again.");

    public static readonly ConfigKey<ImmutableArray<string>> Domains = new("modules.edgeDNS.clusterDomain", "name, or list of names", ["cluster.local"],
        "The domain of the cluster's names, as kubelet's clusterDomain. Of several the first one is told for addresses.",
        ReadDomains, v => v.Length == 1 ? Quote(v[0]) : $"[{string.Join(", ", v.Select(Quote))}]")
    {
        Reason = "clusters with another domain than cluster.local are answered",
    };

    public static readonly ConfigKey<ImmutableArray<UpstreamServer>> Upstreams = Servers("modules.edgeDNS.upstreamServers",
        "Who is asked for all other names: IP, IP:PORT, or tls://IP#NAME for DNS over TLS. Empty: the nameservers of resolvConf.",
        "edge networks often have a resolver of their own");

    public static readonly ConfigKey<ImmutableArray<StubDomain>> StubDomains = new("modules.edgeDNS.stubDomains", "mapping of a domain to a list of servers", [],
        "Who is asked for a domain and everything below it, like {corp.example: [10.0.0.53]}.",
        ReadStubs, v => $"{{{string.Join(", ", v.Select(stub => $"{Quote(stub.Domain)}: {Show(stub.Servers)}"))}}}")
    {
        Reason = "a site's own names live on the site's own server; the key is kube-dns'",
    };

    public static readonly ConfigKey<string> ResolvConf = new("modules.edgeDNS.resolvConf", "absolute path", "/etc/resolv.conf",
        "The host's file of nameservers, looked at every 5 s. A container sees a copy that kubelet made when the pod began.",
        Where<string>(ValueReaders.Text, v => v.Length > 1 && v[0] == '/', "wants an absolute path, and this is {}", "begin it with /"), Quote)
    {
        Reason = "hosts with systemd-resolved keep the servers behind it in /run/systemd/resolve/resolv.conf",
    };

    public static readonly ConfigKey<ImmutableArray<IPAddress>> ListenAddresses = new("modules.edgeDNS.listenAddresses", "list of IP addresses", [],
        "Addresses of this node at which it answers beside the device's, for machines of allowedClients.",
        ReadAddresses, v => $"[{string.Join(", ", v.Select(address => Quote(address.ToString())))}]")
    {
        Reason = "nothing listens on an outer address that nobody asked for",
    };

    public static readonly ConfigKey<ImmutableArray<IPNetwork>> AllowedClients = new("modules.edgeDNS.allowedClients", "list of CIDR", [],
        "Who is answered beside this node and its pods. Others are refused.",
        CidrReader.ReadOneOrMore, v => $"[{string.Join(", ", v)}]")
    {
        Reason = "a resolver for everybody is one that strangers use against others",
    };

    public static readonly ConfigKey<bool> CacheEnable = Boolean("modules.edgeDNS.cacheDNS.enable", false, "Ask the cluster's DNS for every name, and keep its answers.");

    public static readonly ConfigKey<bool> AutoDetect = Boolean("modules.edgeDNS.cacheDNS.autoDetect", true,
        "Find it: the services kube-system/coredns and kube-system/kube-dns, and those with the label k8s-app=kube-dns.");

    public static readonly ConfigKey<ImmutableArray<UpstreamServer>> CacheUpstreams = Servers("modules.edgeDNS.cacheDNS.upstreamServers",
        "Its addresses, IP or IP:PORT, beside those that are found.");

    public static readonly ConfigKey<int> CacheTtl = Integer("modules.edgeDNS.cacheDNS.cacheTTL", 30, 0, 86_400, "Seconds that an answer is kept at most.");

    public static IReadOnlyList<ConfigKey> All { get; } =
        [DnsEnable, ListenPort, Domains, Upstreams, StubDomains, ResolvConf, ListenAddresses, AllowedClients, CacheEnable, AutoDetect, CacheUpstreams, CacheTtl];

    private static ConfigKey<ImmutableArray<UpstreamServer>> Servers(string path, string doc, string? reason = null) =>
        new(path, "list of servers", [], doc, ReadServers, Show) { Reason = reason };

    private static string Show(ImmutableArray<UpstreamServer> servers) => $"[{string.Join(", ", servers.Select(server => $"\"{server}\""))}]";

    private static bool ReadSwitch(YamlValue node, FaultSink fault, out Switch value)
    {
        value = Switch.Auto;
        if (node is YamlScalar { Text: "auto" })
            return true;
        if (!ValueReaders.Boolean(node, fault, out var on))
            return false;
        value = on ? Switch.On : Switch.Off;
        return true;
    }

    private static bool ReadDomains(YamlValue node, FaultSink fault, out ImmutableArray<string> value)
    {
        value = [];
        if (!ValueReaders.TextList(node is YamlScalar { IsNull: false } ? new YamlSequence(node.Mark, [node]) : node, fault, out var names))
            return false;
        if (names.IsEmpty || names.FirstOrDefault(name => WireName.FromText(name) is not { Length: > 1 }) is { } bad && names.Contains(bad))
        {
            fault(node.Mark, "wants a domain, and this is not the name of one", "write it like cluster.local");
            return false;
        }

        value = [.. names.Select(name => name.TrimEnd('.').ToLowerInvariant()).Distinct(StringComparer.Ordinal)];
        return true;
    }

    private static bool ReadServers(YamlValue node, FaultSink fault, out ImmutableArray<UpstreamServer> value)
    {
        value = [];
        if (!ValueReaders.TextList(node, fault, out var texts))
            return false;
        var items = ((YamlSequence)node).Items;
        var servers = ImmutableArray.CreateBuilder<UpstreamServer>();
        var good = true;
        for (var i = 0; i < texts.Length; i++)
        {
            if (UpstreamServer.Parse(texts[i], out var what) is { } server)
            {
                servers.Add(server);
                continue;
            }

            fault(items[i].Mark, what!.TrimEnd('.'), "write it like 10.0.0.53, 10.0.0.53:5353 or tls://9.9.9.9#dns.quad9.net");
            good = false;
        }

        value = servers.ToImmutable();
        return good;
    }

    private static bool ReadStubs(YamlValue node, FaultSink fault, out ImmutableArray<StubDomain> value)
    {
        value = [];
        if (node is not YamlMapping mapping)
        {
            fault(node.Mark, $"wants a mapping of domains to servers, and this is {node.Noun}", "write it like {corp.example: [10.0.0.53]}");
            return false;
        }

        var stubs = ImmutableArray.CreateBuilder<StubDomain>();
        var good = true;
        foreach (var entry in mapping.Entries)
        {
            var list = entry.Value is YamlScalar { IsNull: false } ? new YamlSequence(entry.Value.Mark, [entry.Value]) : entry.Value;
            if (!ReadServers(list, fault, out var servers))
            {
                good = false;
            }
            else if (servers.IsEmpty || WireName.FromText(entry.Key) is not { Length: > 1 })
            {
                fault(entry.Mark, servers.IsEmpty ? $"'{entry.Key}' has no server" : $"'{entry.Key}' is not the name of a domain", "write it like corp.example: [10.0.0.53]");
                good = false;
            }
            else
            {
                stubs.Add(new StubDomain(entry.Key.TrimEnd('.').ToLowerInvariant(), servers));
            }
        }

        value = stubs.ToImmutable();
        return good;
    }

    private static bool ReadAddresses(YamlValue node, FaultSink fault, out ImmutableArray<IPAddress> value)
    {
        value = [];
        if (!ValueReaders.TextList(node, fault, out _))
            return false;
        var addresses = ImmutableArray.CreateBuilder<IPAddress>();
        var good = true;
        foreach (var item in ((YamlSequence)node).Items)
        {
            good &= ValueReaders.IpAddress(item, fault, out var address);
            addresses.Add(address);
        }

        value = addresses.ToImmutable();
        return good;
    }
}
