using System.Collections.Immutable;
using EdgeMesh.Kubernetes.Yaml;

namespace EdgeMesh.Agent.Options;

/// <summary>An item of <c>modules.edgeTunnel.relayNodes</c>.</summary>
internal sealed record RelayNode(string NodeName, ImmutableArray<string> AdvertiseAddress)
{
    /// <summary>What keeps the tunnel from using it, each at its place in the file. Told as faults where the tunnel is enabled.</summary>
    public ImmutableArray<RelayFault> Faults { get; init; } = [];

    public string ToText() => $"{{nodeName: {NodeName}, advertiseAddress: [{string.Join(", ", AdvertiseAddress)}]}}";

    public static bool ReadList(YamlValue node, FaultSink fault, out ImmutableArray<RelayNode> value)
    {
        value = [];
        if (node is not YamlSequence list)
        {
            fault(node.Mark, $"wants a list, and this is {node.Noun}", "begin each relay node with '- nodeName: …'");
            return false;
        }

        var good = true;
        var nodes = ImmutableArray.CreateBuilder<RelayNode>();
        foreach (var item in list.Items)
            good &= ReadOne(item, fault, nodes);
        value = nodes.ToImmutable();
        if (good)
            return true;
        // The list is not taken, so nobody will ask it later.
        foreach (var doubt in nodes.SelectMany(relay => relay.Faults))
            fault(doubt.Mark, doubt.What, doubt.Remedy);
        return false;
    }

    private static bool ReadOne(YamlValue item, FaultSink fault, ImmutableArray<RelayNode>.Builder nodes)
    {
        if (item is not YamlMapping mapping)
        {
            fault(item.Mark, $"wants a relay node, and this is {item.Noun}", "write nodeName and advertiseAddress");
            return false;
        }

        var good = true;
        var name = "";
        ImmutableArray<string> addresses = [];
        var faults = ImmutableArray.CreateBuilder<RelayFault>();
        void Doubt(YamlMark mark, string what, string remedy) => faults.Add(new RelayFault(mark, what, remedy));
        var named = false;
        foreach (var entry in mapping.Entries)
        {
            if (entry.Key.Equals("nodeName", StringComparison.OrdinalIgnoreCase))
            {
                named = true;
                good &= ValueReaders.Text(entry.Value, fault, out name) && RelayCheck.Name(entry.Value, Doubt, ref name);
            }
            else if (entry.Key.Equals("advertiseAddress", StringComparison.OrdinalIgnoreCase))
            {
                good &= entry.Value is YamlScalar { IsNull: true } || ReadAddresses(entry.Value, fault, Doubt, out addresses);
            }
            else
            {
                fault(entry.Mark, $"a relay node has no key '{entry.Key}'", "it has nodeName and advertiseAddress");
                good = false;
            }
        }

        if (!named)
            Doubt(item.Mark, "a relay node has no nodeName", "write the node's name in Kubernetes as nodeName");
        nodes.Add(new RelayNode(name, addresses) { Faults = faults.ToImmutable() });
        return good;
    }

    private static bool ReadAddresses(YamlValue value, FaultSink fault, FaultSink doubt, out ImmutableArray<string> addresses)
    {
        addresses = [];
        if (value is YamlScalar { Text: var text })
        {
            fault(value.Mark, $"advertiseAddress wants a list, and this is {value.Noun}", $"begin each address on its own line with '- ', or write [{text}]");
            return false;
        }

        if (!ValueReaders.TextList(value, fault, out addresses))
            return false;
        foreach (var item in ((YamlSequence)value).Items)
            RelayCheck.Address((YamlScalar)item, doubt);
        return true;
    }
}

internal sealed record RelayFault(YamlMark Mark, string What, string Remedy);
