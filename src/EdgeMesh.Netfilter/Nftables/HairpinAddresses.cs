using System.Net;
using EdgeMesh.Net;

namespace EdgeMesh.Netfilter.Nftables;

/// <summary>Addresses of endpoints on the kernel path, counted, since several service ports may share one.</summary>
internal sealed class HairpinAddresses
{
    private const int MostKept = 1024;

    private readonly Dictionary<InetAddress, int> uses = [];
    private readonly Dictionary<InetAddress, bool> stoodBefore = [];

    public int Count => uses.Count;

    public void Add(InetAddress address)
    {
        var count = uses.GetValueOrDefault(address);
        stoodBefore.TryAdd(address, count > 0);
        uses[address] = count + 1;
    }

    public void Remove(InetAddress address)
    {
        var count = uses[address];
        stoodBefore.TryAdd(address, value: true);
        if (count == 1)
            uses.Remove(address);
        else
            uses[address] = count - 1;
    }

    /// <summary>Writes what differs since the last call.</summary>
    public void Write(NftTransaction transaction, string table)
    {
        foreach (var (address, stood) in stoodBefore)
        {
            var stands = uses.ContainsKey(address);
            if (stands && !stood)
                transaction.Element(NftTransaction.Step.AddHairpins, $"add element {table} {NftNames.Hairpin}", m => m.AddHairpin(address)).Append($"{address} . {address}");
            else if (!stands && stood)
                transaction.Element(NftTransaction.Step.DeleteHairpins, $"delete element {table} {NftNames.Hairpin}", m => m.RemoveHairpin(address)).Append($"{address} . {address}");
        }

        stoodBefore.Clear();
        // A whole cluster has been written; small changes follow.
        if (stoodBefore.Capacity > MostKept)
            stoodBefore.TrimExcess();
    }
}
