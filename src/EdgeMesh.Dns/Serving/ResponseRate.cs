namespace EdgeMesh.Dns.Serving;

/// <summary>Answers of each client address in each second, in a table of fixed size: an address takes the place of the one that was
/// seen least lately among four.</summary>
internal sealed class ResponseRate(int perSecond, ulong seed)
{
    private const int Sets = 1024;
    private const int Ways = 4;

    private readonly Place[] _places = new Place[Sets * Ways];

    /// <summary>Takes one answer of the client's, if it has one left.</summary>
    public bool TryTake(in DnsClient client, long now)
    {
        var hash = ((ulong)client.Address ^ (ulong)(client.Address >> 64) ^ seed) * 0x9E3779B97F4A7C15;
        var set = _places.AsSpan((int)(hash >> 54) * Ways, Ways);
        var oldest = 0;
        for (var i = 0; i < Ways; i++)
        {
            ref var place = ref set[i];
            if (place.Address == client.Address && place.IsIPv6 == client.IsIPv6 && place.Since > 0)
                return Take(ref place, now);
            if (place.Since < set[oldest].Since)
                oldest = i;
        }

        set[oldest] = new Place { Address = client.Address, IsIPv6 = client.IsIPv6, Since = Math.Max(now, 1), Left = perSecond - 1 };
        return perSecond > 0;
    }

    private bool Take(ref Place place, long now)
    {
        if (now - place.Since >= 1000)
        {
            place.Since = Math.Max(now, 1);
            place.Left = perSecond;
        }

        if (place.Left <= 0)
            return false;
        place.Left--;
        return true;
    }

    private struct Place
    {
        public UInt128 Address;
        public bool IsIPv6;
        public long Since;
        public int Left;
    }
}
