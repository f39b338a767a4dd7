using System.Collections.Immutable;
using System.Text;
using EdgeMesh.LibP2P;
using EdgeMesh.LibP2P.Addresses;
using EdgeMesh.LibP2P.Wire;
using EdgeMesh.Tunnel.Identity;

namespace EdgeMesh.Tunnel.Sessions;

/// <summary>What a node says of itself at the start of a session, and again when it changes: `{1 node name, 2 address ranges*
/// (text), 3 listen addresses* (multiaddr), 4 proxy versions*, 5 flags (1 relay, 2 probe), 6 instance}`. All of it is a claim;
/// the name is checked against the peer id.</summary>
internal sealed record HelloMessage
{
    internal const string Protocol = "/edgemesh/node/1.0.0";
    internal const int MaxLength = 16 * 1024;

    /// <summary>What a node says that says no hello; version 1 of the proxy versions.</summary>
    internal const string FirstProxyProtocol = "/libp2p/tunnel-proxy/1.0.0";

    private const int MaxRanges = 64;
    private const int MaxAddresses = 32;
    private const int MaxVersions = 8;
    private const int MaxRangeText = 64;
    private const ulong RelayFlag = 1;
    private const ulong ProbeFlag = 2;

    internal required string Node { get; init; }

    internal ImmutableArray<AddressRange> Ranges { get; init; } = [];

    internal ImmutableArray<Multiaddr> Addresses { get; init; } = [];

    internal ImmutableArray<int> ProxyVersions { get; init; } = [];

    /// <summary>It passes connections on for others.</summary>
    internal bool IsRelay { get; init; }

    /// <summary>The connection verifies a range and carries nothing.</summary>
    internal bool IsProbe { get; init; }

    /// <summary>Another number after each start of the node.</summary>
    internal ulong Instance { get; init; }

    internal byte[] Encode() => ProtobufWriter.Message(this, static (hello, queue) =>
    {
        var writer = new ProtobufWriter(queue);
        writer.Text(1, hello.Node);
        foreach (var range in hello.Ranges.Take(MaxRanges))
            writer.Text(2, range.ToString());
        foreach (var address in hello.Addresses.Take(MaxAddresses))
            writer.Bytes(3, address.Bytes);
        foreach (var version in hello.ProxyVersions)
            writer.Number(4, (ulong)version);
        writer.Number(5, (hello.IsRelay ? RelayFlag : 0) | (hello.IsProbe ? ProbeFlag : 0));
        writer.Number(6, hello.Instance);
    });

    /// <exception cref="PeerProtocolException">The message is malformed or beyond its limits.</exception>
    internal static HelloMessage Decode(ReadOnlySpan<byte> bytes)
    {
        var node = "";
        var ranges = ImmutableArray.CreateBuilder<AddressRange>();
        var addresses = ImmutableArray.CreateBuilder<Multiaddr>();
        var versions = ImmutableArray.CreateBuilder<int>();
        ulong flags = 0, instance = 0;
        var reader = new ProtobufReader(bytes);
        var ok = bytes.Length <= MaxLength;
        while (ok && reader.Next())
        {
            switch (reader.Field)
            {
                case 1:
                    ok = reader.Bytes.Length <= PresharedKeys.MaxNodeName;
                    if (ok)
                        node = Encoding.UTF8.GetString(reader.Bytes);
                    break;
                case 2:
                    ok = ranges.Count < MaxRanges && reader.Bytes.Length <= MaxRangeText
                        && AddressRange.TryParse(Encoding.UTF8.GetString(reader.Bytes), out var range) && Add(ranges, range.Value);
                    break;
                case 3:
                    // Later versions may have addresses of kinds that are not known here: those are no fault.
                    ok = addresses.Count < MaxAddresses;
                    if (ok && Multiaddr.TryDecode(reader.Bytes, out var address))
                        addresses.Add(address);
                    break;
                case 4:
                    ok = versions.Count < MaxVersions && reader.Number <= int.MaxValue && Add(versions, (int)reader.Number);
                    break;
                case 5:
                    flags = reader.Number;
                    break;
                case 6:
                    instance = reader.Number;
                    break;
            }
        }

        if (!ok || reader.Malformed || !PresharedKeys.IsNodeName(node))
            throw new PeerProtocolException("a node's hello is malformed or too long");
        return new HelloMessage
        {
            Node = node,
            Ranges = ranges.ToImmutable(),
            Addresses = addresses.ToImmutable(),
            ProxyVersions = versions.ToImmutable(),
            IsRelay = (flags & RelayFlag) != 0,
            IsProbe = (flags & ProbeFlag) != 0,
            Instance = instance,
        };
    }

    private static bool Add<T>(ImmutableArray<T>.Builder list, T item)
    {
        list.Add(item);
        return true;
    }
}
