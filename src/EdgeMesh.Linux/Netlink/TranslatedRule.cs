using System.Runtime.InteropServices;

namespace EdgeMesh.Linux.Netlink;

/// <summary>A rule that accepts whatever was translated to another destination and asks for nothing else:
/// <c>ct status dnat accept</c>, or <c>-m conntrack --ctstate DNAT -j ACCEPT</c>.</summary>
internal static class TranslatedRule
{
    // linux/netfilter/nf_conntrack_common.h, nf_tables.h and xt_conntrack.h.
    private const uint DestinationTranslated = 1 << 5;
    private const uint KeyStatus = 2, NotEqual = 1;
    private const ushort MatchesState = 1, StateTranslated = 1 << 7;
    private const int MatchFlags = 146, InvertFlags = 148, StateMask = 150, InfoBytes = 154;

    /// <param name="expressions">Those of a rule of nf_tables.</param>
    public static bool Accepts(ReadOnlySpan<byte> expressions)
    {
        bool status = false, masked = false, translated = false, accepts = false;
        var walk = new NetlinkAttributes(expressions);
        while (walk.MoveNext())
        {
            var data = FilterChainReader.Find(walk.Value, 2);
            switch (FilterChainReader.Text(FilterChainReader.Find(walk.Value, 1)))
            {
                case "counter" or "log":
                    break;
                case "ct" when !status && FilterChainReader.Number(FilterChainReader.Find(data, 2)) == KeyStatus:
                    status = true;
                    break;
                case "bitwise" when status && !masked && Host(FilterChainReader.Find(FilterChainReader.Find(data, 4), 1)) is { } mask && (mask & DestinationTranslated) != 0:
                    masked = true;
                    break;
                case "cmp" when masked && !translated && IsAnyOf(data):
                    translated = true;
                    break;
                case "match" when !translated && FilterChainReader.Text(FilterChainReader.Find(data, 1)) == "conntrack" && MatchesTranslated(FilterChainReader.Find(data, 3)):
                    translated = true;
                    break;
                case "immediate" when FilterChainReader.Verdict(data) == FilterChainReader.Accept:
                    accepts = true;
                    break;
                default:
                    return false;
            }
        }

        return translated && accepts;
    }

    /// <param name="info">struct xt_conntrack_mtinfo2 or 3.</param>
    public static bool MatchesTranslated(ReadOnlySpan<byte> info) =>
        info.Length >= InfoBytes
        && MemoryMarshal.Read<ushort>(info[MatchFlags..]) == MatchesState
        && MemoryMarshal.Read<ushort>(info[InvertFlags..]) == 0
        && (MemoryMarshal.Read<ushort>(info[StateMask..]) & StateTranslated) != 0;

    /// <summary>Not 0: one of the bits that the mask left; or exactly the bit.</summary>
    private static bool IsAnyOf(ReadOnlySpan<byte> compare)
    {
        var value = Host(FilterChainReader.Find(FilterChainReader.Find(compare, 3), 1));
        return FilterChainReader.Number(FilterChainReader.Find(compare, 2)) == NotEqual ? value == 0 : value == DestinationTranslated;
    }

    private static uint? Host(ReadOnlySpan<byte> value) => value.Length == 4 ? MemoryMarshal.Read<uint>(value) : null;
}
