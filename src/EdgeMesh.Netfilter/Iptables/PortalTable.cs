using EdgeMesh.Net;

namespace EdgeMesh.Netfilter.Iptables;

/// <summary>What shall stand in the nat table of one family, as rules. Immutable; made from the one before, so that portals
/// that are the same objects are not written out again.</summary>
internal sealed class PortalTable
{
    private readonly ChainNames names;
    private readonly IptablesCapabilities capabilities;
    private readonly Dictionary<PortalRule, Rule> visible = new(ReferenceEqualityComparer.Instance);
    private readonly Dictionary<string, PortalRule> serviceChains = new(StringComparer.Ordinal);

    private PortalTable(FamilyPortals source, ChainNames names, IptablesCapabilities capabilities)
    {
        Source = source;
        this.names = names;
        this.capabilities = capabilities;
    }

    public FamilyPortals Source { get; }

    public IReadOnlyList<Rule> Container { get; private set; } = [];

    public IReadOnlyList<Rule> Host { get; private set; } = [];

    public IReadOnlyDictionary<string, PortalRule> ServiceChains => serviceChains;

    /// <summary>Only the kernel path masquerades.</summary>
    public bool NeedsPostrouting => serviceChains.Count > 0;

    /// <summary>Some clients of the kernel path go to the listener.</summary>
    public bool NeedsListener { get; private set; }

    public bool NeedsMasquerade => NeedsPostrouting && Source.Masquerade.DependsOnAddresses;

    public IEnumerable<Hook> Hooks => names.Hooks;

    public static PortalTable Build(FamilyPortals source, ChainNames names, IptablesCapabilities capabilities, PortalTable? previous)
    {
        var table = new PortalTable(source, names, capabilities);
        var reusable = previous is not null && previous.Source.Listener.Equals(source.Listener) ? previous.visible : null;
        var kernel = new List<Rule>();
        var listener = new List<Rule>();
        var keys = new HashSet<TransportAddress>(source.Rules.Length);
        foreach (var portal in source.Rules)
        {
            // Two portals that catch the same: the first one would win in the kernel too.
            if (!keys.Add(portal.Key))
                continue;
            if (reusable is null || !reusable.TryGetValue(portal, out var rule))
            {
                if (PortalText.Visible(portal, source) is not { } written)
                    continue;
                rule = written;
            }

            table.visible[portal] = rule;
            if (portal.Target is PortalTarget.Backends backends)
            {
                table.NeedsListener |= !backends.ThroughListener.IsEmpty;
                kernel.Add(rule);
                table.serviceChains[ChainNames.Service(portal.Key)] = portal;
            }
            else
            {
                listener.Add(rule);
            }
        }

        if (kernel.Count > 0 && capabilities.Recent)
            kernel.Insert(0, PortalText.Lease(source.Family, source.Lease));

        // Kernel-path portals stand above the heartbeat check: they need no process.
        if (listener.Count > 0 && capabilities.Recent)
            kernel.Add(PortalText.Heartbeat(source.Family));
        kernel.AddRange(listener);
        table.Container = kernel;
        table.Host = [PortalText.OwnTraffic, .. kernel];
        return table;
    }

    /// <summary>Every chain of ours that shall stand.</summary>
    public IEnumerable<string> Chains =>
        ((IEnumerable<string>)[names.Container, names.Host])
        .Concat(NeedsPostrouting ? [ChainNames.Postrouting] : [])
        .Concat(NeedsMasquerade ? [ChainNames.Masquerade] : [])
        .Concat(NeedsListener ? [ChainNames.Listener] : [])
        .Concat(serviceChains.Keys);

    public bool Has(string chain) =>
        chain == names.Container || chain == names.Host || chain switch
        {
            ChainNames.Postrouting => NeedsPostrouting,
            ChainNames.Masquerade => NeedsMasquerade,
            ChainNames.Listener => NeedsListener,
            _ => serviceChains.ContainsKey(chain),
        };

    public IReadOnlyList<Rule> Rules(string chain)
    {
        if (chain == names.Container)
            return Container;
        if (chain == names.Host)
            return Host;
        if (chain == ChainNames.Postrouting)
            return [.. PortalText.Postrouting(Source.Masquerade, capabilities)];
        if (chain == ChainNames.Masquerade)
            return [.. PortalText.Masquerade(capabilities)];
        if (chain == ChainNames.Listener)
            return [.. PortalText.ToListener(Source, capabilities)];
        var portal = serviceChains[chain];
        return [.. PortalText.ServiceChain(portal.Key, (PortalTarget.Backends)portal.Target, Source.Masquerade)];
    }
}
