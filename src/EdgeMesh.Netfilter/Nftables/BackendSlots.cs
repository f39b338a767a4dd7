using System.Numerics;
using EdgeMesh.Net;

namespace EdgeMesh.Netfilter.Nftables;

/// <summary>Numbers for the endpoints of the backend maps. A service port gets a run whose capacity is a power of two,
/// so that an added endpoint is one element and one rule, and runs that come back fit the next ones.</summary>
internal sealed class BackendSlots(TransportProtocol protocol)
{
    // The kernel compares a new element of a map with each rule that uses the map, and a new rule with each element:
    // one map for 10,000 services takes half a minute, 64 services to a map take nothing that can be measured.
    private const int ServicesPerMap = 64;

    private readonly Stack<int>[] free = [.. Enumerable.Range(0, 32).Select(_ => new Stack<int>())];
    private readonly List<int> users = [];
    private readonly SortedSet<int> mapsWithRoom = [];
    private int next;

    /// <summary>A run of slots in a map.</summary>
    /// <param name="MapName">A protocol has maps of its own, because nft 1.0.6, once it has read back a map of
    /// <c>th dport</c> from the kernel, finds it in conflict with the protocol of a rule that uses it.</param>
    /// <param name="NewMap">The map has to be made first.</param>
    public readonly record struct Run(TransportProtocol Protocol, int Map, string MapName, int Offset, int Capacity, bool NewMap);

    public Run Take(int count)
    {
        var capacity = (int)BitOperations.RoundUpToPowerOf2((uint)count);
        var runs = free[BitOperations.Log2((uint)capacity)];
        if (!runs.TryPop(out var offset))
        {
            offset = next;
            next = checked(next + capacity);
        }

        var newMap = mapsWithRoom.Count == 0;
        if (newMap)
        {
            users.Add(0);
            mapsWithRoom.Add(users.Count - 1);
        }

        var map = mapsWithRoom.Min;
        if (++users[map] == ServicesPerMap)
            mapsWithRoom.Remove(map);
        return new Run(protocol, map, $"backends-{protocol.Name()}-{map}", offset, capacity, newMap);
    }

    public void Return(Run run)
    {
        free[BitOperations.Log2((uint)run.Capacity)].Push(run.Offset);
        users[run.Map]--;
        mapsWithRoom.Add(run.Map);
    }
}
