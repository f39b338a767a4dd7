using System.Buffers.Binary;
using System.Collections.Immutable;
using System.Runtime.InteropServices;
using EdgeMesh.Net;

namespace EdgeMesh.Linux.Netlink;

/// <summary>Reads which chains stand at the hooks forward and input, and whether they drop what no rule of theirs accepts:
/// of nf_tables by netlink (linux/netfilter/nf_tables.h), of iptables-legacy from its table.</summary>
public static class FilterChainReader
{
    private const int GetRule = 7;
    private const int HookInput = 1, HookForward = 2;
    private const int FamilyInet = 1;
    internal const uint Drop = 0, Accept = 1;

    /// <summary>What our chains in tables of others begin with.</summary>
    internal static ReadOnlySpan<byte> OwnChains => "EDGEMESH-"u8;

    private static readonly TimeSpan Deadline = TimeSpan.FromSeconds(5);

    /// <param name="except">The table whose chains are left out: our own.</param>
    /// <param name="addresses">Our addresses, which somebody may have opened such a chain to.</param>
    /// <exception cref="NetlinkException">The kernel did not answer.</exception>
    public static (ImmutableArray<FilterChain> Chains, ImmutableArray<ShutDevice> Shut) Read(string except, ImmutableArray<InetAddress> addresses)
    {
        var chains = new List<FilterChain>();
        var shut = new HashSet<ShutDevice>();
        try
        {
            using var socket = NetlinkSocket.Open(NetlinkSocket.ProtocolNetfilter, Deadline);
            foreach (var chain in BaseChains(socket))
            {
                if (chain.Table == except)
                    continue;
                chains.Add(Opened(socket, WithRules(socket, chain), addresses));
                if (chain.Hook == FilterHook.Forward)
                    FindShut(socket, chain, shut);
            }
        }
        catch (NetlinkException fault) when (fault.Errno is 0 or NetlinkCalls.Einval or NetlinkCalls.Eopnotsupp or NetlinkCalls.Eprotonosupport)
        {
            // A kernel without nf_tables has no chains of it, nor one without nfnetlink.
        }

        foreach (var ipv6 in (bool[])[false, true])
            chains.AddRange(LegacyFilter.Read(ipv6, addresses, shut));
        return
        (
            [.. chains.OrderBy(chain => chain.ToString(), StringComparer.Ordinal).ThenBy(chain => chain.Hook)],
            [.. shut.OrderBy(rule => rule.Chain, StringComparer.Ordinal).ThenBy(rule => rule.Device, StringComparer.Ordinal)]
        );
    }

    /// <summary>In all chains of the table: which of them a packet passes on its way would take following every jump.</summary>
    private static void FindShut(NetlinkSocket socket, FilterChain chain, HashSet<ShutDevice> shut) => Rules(socket, chain, null, payload =>
    {
        if (ShutDeviceRule.Device(Find(payload[4..], 4)) is { } device)
            shut.Add(new ShutDevice(chain.Family, (chain with { Name = Text(Find(payload[4..], 2)) }).ToString(), device));
    });

    private static List<FilterChain> BaseChains(NetlinkSocket socket)
    {
        var found = new List<FilterChain>();
        var errno = NftChains.List(socket, NetlinkCalls.AfUnspec, (_, payload) =>
        {
            if (ParseChain(payload) is { } chain)
                found.Add(chain);
        });
        return errno == 0 ? found : throw new NetlinkException("Listing the chains of the packet filter", errno);
    }

    /// <returns>Null for what is no base chain of the two hooks in a family that matters.</returns>
    internal static FilterChain? ParseChain(ReadOnlySpan<byte> payload)
    {
        if (payload.Length < 4)
            return null;
        var family = payload[0] switch
        {
            NetlinkCalls.AfInet => "ip",
            NetlinkCalls.AfInet6 => "ip6",
            FamilyInet => "inet",
            _ => null,
        };
        // Most chains are no base chains; the hook is looked for before anything is made of the rest.
        if (family is null || Find(payload[4..], 4) is not { Length: > 0 } hook)
            return null;
        var number = Find(hook, 1) is { Length: >= 4 } value ? BinaryPrimitives.ReadUInt32BigEndian(value) : 0;
        if (number is not (HookInput or HookForward))
            return null;
        var policy = Find(payload[4..], 5);
        return new FilterChain(
            family, Text(Find(payload[4..], 1)), Text(Find(payload[4..], 3)), number == HookInput ? FilterHook.Input : FilterHook.Forward,
            IsLegacy: false, PolicyDrops: policy.Length >= 4 && BinaryPrimitives.ReadUInt32BigEndian(policy) == Drop, EndsInDrop: false);
    }

    private static FilterChain WithRules(NetlinkSocket socket, FilterChain chain)
    {
        bool ends = false, translated = false;
        Rules(socket, chain, chain.Name, payload =>
        {
            translated |= !ends && TranslatedRule.Accepts(Find(payload[4..], 4));
            ends |= DropsAll(payload);
        });
        return chain with { EndsInDrop = ends, AcceptsTranslated = translated };
    }

    /// <summary>Only a chain that drops has to be open to anybody.</summary>
    private static FilterChain Opened(NetlinkSocket socket, FilterChain chain, ImmutableArray<InetAddress> addresses)
    {
        if (chain is not { Hook: FilterHook.Input, Blocks: true })
            return chain;
        bool four = false, six = false;
        Rules(socket, chain, null, payload =>
        {
            foreach (var address in addresses)
            {
                if (AcceptsFor(payload, address))
                    (four, six) = (four || !address.IsIPv6, six || address.IsIPv6);
            }
        });
        return chain with { OpenToIPv4 = four, OpenToIPv6 = six };
    }

    private delegate void RuleAction(ReadOnlySpan<byte> payload);

    /// <param name="name">Null: the rules of all chains of the table.</param>
    private static void Rules(NetlinkSocket socket, FilterChain chain, string? name, RuleAction look)
    {
        Span<byte> buffer = stackalloc byte[1024];
        var writer = new NetlinkWriter(buffer);
        var sequence = socket.NextSequence();
        writer.BeginMessage((NftChains.Subsystem << 8) | GetRule, NetlinkSocket.FlagRequest | NetlinkSocket.FlagDump, sequence);
        writer.NetfilterHeader(chain.Family switch { "ip" => NetlinkCalls.AfInet, "ip6" => NetlinkCalls.AfInet6, _ => FamilyInet });
        writer.AttributeText(1, chain.Table);
        if (name is not null)
            writer.AttributeText(2, name);
        writer.EndMessage();
        // A chain that has gone meanwhile drops nothing; the next look sees what is there.
        _ = socket.Query(
            writer.Written,
            sequence,
            dump: true,
            (_, payload) =>
            {
                // Older kernels do not filter what they list.
                if (payload.Length >= 4 && Text(Find(payload[4..], 1)) == chain.Table && (name is null || Text(Find(payload[4..], 2)) == name))
                    look(payload);
            },
            out _);
    }

    /// <summary>Whether the rule is somebody else's, holds the address as a value, and accepts.</summary>
    internal static bool AcceptsFor(ReadOnlySpan<byte> payload, InetAddress address)
    {
        Span<byte> value = stackalloc byte[16];
        value = value[..address.WriteBytes(value)];
        var attributes = payload[4..];
        if (Find(attributes, 2).StartsWith(OwnChains) || Find(attributes, 4).IndexOf(value) < 0)
            return false;
        var expressions = new NetlinkAttributes(Find(attributes, 4));
        while (expressions.MoveNext())
        {
            if (Text(Find(expressions.Value, 1)) == "immediate" && Verdict(Find(expressions.Value, 2)) == Accept)
                return true;
        }

        return false;
    }

    /// <param name="immediate">The attributes of the expression.</param>
    /// <returns>Null for what is no verdict.</returns>
    internal static uint? Verdict(ReadOnlySpan<byte> immediate) =>
        Find(Find(Find(immediate, 2), 2), 1) is { Length: >= 4 } code ? BinaryPrimitives.ReadUInt32BigEndian(code) : null;

    /// <summary>Whether the rule has no condition, and drops or rejects.</summary>
    internal static bool DropsAll(ReadOnlySpan<byte> payload)
    {
        var drops = false;
        var expressions = new NetlinkAttributes(Find(payload[4..], 4));
        while (expressions.MoveNext())
        {
            var name = Text(Find(expressions.Value, 1));
            var data = Find(expressions.Value, 2);
            if (name is "counter" or "log")
                continue;
            if (!Drops(name, data))
                return false;
            drops = true;
        }

        return drops;
    }

    /// <summary>Whether the expression of that name is a verdict that drops, or a target that rejects.</summary>
    internal static bool Drops(string name, ReadOnlySpan<byte> data) => name switch
    {
        "reject" => true,
        "target" => Text(Find(data, 1)) == "REJECT",
        "immediate" => Verdict(data) == Drop,
        _ => false,
    };

    internal static ReadOnlySpan<byte> Find(ReadOnlySpan<byte> attributes, int type)
    {
        var walk = new NetlinkAttributes(attributes);
        while (walk.MoveNext())
        {
            if (walk.Type == type)
                return walk.Value;
        }

        return default;
    }

    /// <returns>Null for what has not four bytes.</returns>
    internal static uint? Number(ReadOnlySpan<byte> value) => value.Length == 4 ? BinaryPrimitives.ReadUInt32BigEndian(value) : null;

    internal static string Text(ReadOnlySpan<byte> value) => System.Text.Encoding.UTF8.GetString(value.TrimEnd((byte)0));
}
