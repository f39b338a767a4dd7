using System.Collections.Immutable;
using System.Net;
using EdgeMesh.Kubernetes.Yaml;
using EdgeMesh.Linux;
using EdgeMesh.Net;

namespace EdgeMesh.Agent.Options;

/// <summary>Reads a list of address ranges like 10.244.3.0/24.</summary>
internal static class CidrReader
{
    /// <summary>As <see cref="Read"/>; a single text may hold several, with commas between them.</summary>
    public static bool ReadOneOrMore(YamlValue node, FaultSink fault, out ImmutableArray<IPNetwork> value) => Read(
        node is YamlScalar { IsNull: false } text
            ? new YamlSequence(text.Mark, [.. text.Text.Split(',', StringSplitOptions.TrimEntries | StringSplitOptions.RemoveEmptyEntries).Select(part => new YamlScalar(text.Mark, part, Quoted: true))])
            : node,
        fault, out value);

    public static bool Read(YamlValue node, FaultSink fault, out ImmutableArray<IPNetwork> value)
    {
        value = [];
        if (!ValueReaders.TextList(node, fault, out var texts))
            return false;
        var items = ((YamlSequence)node).Items;
        var networks = ImmutableArray.CreateBuilder<IPNetwork>();
        var good = true;
        for (var i = 0; i < texts.Length; i++)
        {
            if (IPNetwork.TryParse(texts[i], out var network) && network.PrefixLength > 0 && InetAddress.TryParse(texts[i].Split('/')[0], out _))
            {
                networks.Add(network);
                continue;
            }

            fault(items[i].Mark, $"'{texts[i]}' is not an address range", "write it like 10.244.3.0/24");
            good = false;
        }

        value = networks.ToImmutable();
        return good;
    }
}
