using System.Collections.Immutable;

namespace EdgeMesh.Agent.Options;

/// <summary>An item of <c>modules.edgeTunnel.relayNodes</c>.</summary>
internal sealed record RelayNode(string NodeName, ImmutableArray<string> AdvertiseAddress)
{
    public string ToText() => $"{{nodeName: {NodeName}, advertiseAddress: [{string.Join(", ", AdvertiseAddress)}]}}";

    public static bool ReadList(YamlValue node, FaultSink fault, out ImmutableArray<RelayNode> value)
    {
        value = [];
        if (node is not YamlValue.Sequence list)
        {
            fault(node.Mark, $"wants a list, and this is {node.Noun}", "begin each relay node with '- nodeName: …'");
            return false;
        }

        var good = true;
        var nodes = ImmutableArray.CreateBuilder<RelayNode>();
        foreach (var item in list.Items)
            good &= ReadOne(item, fault, nodes);
        value = nodes.ToImmutable();
        return good;
    }

    private static bool ReadOne(YamlValue item, FaultSink fault, ImmutableArray<RelayNode>.Builder nodes)
    {
        if (item is not YamlValue.Mapping mapping)
        {
            fault(item.Mark, $"wants a relay node, and this is {item.Noun}", "write nodeName and advertiseAddress");
            return false;
        }

        var good = true;
        var name = "";
        ImmutableArray<string> addresses = [];
        foreach (var entry in mapping.Entries)
        {
            if (entry.Key.Equals("nodeName", StringComparison.OrdinalIgnoreCase))
            {
                good &= ValueReaders.Text(entry.Value, fault, out name);
            }
            else if (entry.Key.Equals("advertiseAddress", StringComparison.OrdinalIgnoreCase))
            {
                good &= entry.Value is YamlValue.Scalar { IsNull: true } || ValueReaders.TextList(entry.Value, fault, out addresses);
            }
            else
            {
                fault(entry.Mark, $"a relay node has no key '{entry.Key}'", "it has nodeName and advertiseAddress");
                good = false;
            }
        }

        nodes.Add(new RelayNode(name, addresses));
        return good;
    }
}
