using System.Text;
using EdgeMesh.LibP2P.Addresses;
using EdgeMesh.LibP2P.Cryptography;
using EdgeMesh.LibP2P.Wire;

namespace EdgeMesh.LibP2P.Identify;

/// <summary>What a peer says about itself: `{publicKey=1, listenAddrs=2*, protocols=3*, observedAddr=4, protocolVersion=5,
/// agentVersion=6, signedPeerRecord=8}`. All of it is a claim; only the peer id of the connection is proved.</summary>
public sealed record IdentifyMessage
{
    /// <summary>The longest message that is read, signed record included.</summary>
    public const int MaxLength = 16 * 1024;

    private const int MaxAddresses = 64;
    private const int MaxProtocols = 256;
    private const int MaxText = 256;

    public PublicKey? PublicKey { get; init; }

    /// <summary>Where it listens, as far as the addresses are of kinds known here.</summary>
    public IReadOnlyList<Multiaddr> ListenAddresses { get; init; } = [];

    public IReadOnlyList<string> Protocols { get; init; } = [];

    /// <summary>Where it sees this side.</summary>
    public Multiaddr? ObservedAddress { get; init; }

    public string ProtocolVersion { get; init; } = "";

    public string AgentVersion { get; init; } = "";

    public byte[] Encode() => ProtobufWriter.Message(this, static (message, queue) =>
    {
        var writer = new ProtobufWriter(queue);
        if (message.PublicKey is { } key)
            writer.Bytes(1, key.ToProtobuf());
        foreach (var address in message.ListenAddresses)
            writer.Bytes(2, address.Bytes);
        foreach (var protocol in message.Protocols)
            writer.Text(3, protocol);
        if (message.ObservedAddress is { } observed)
            writer.Bytes(4, observed.Bytes);
        writer.Text(5, message.ProtocolVersion);
        writer.Text(6, message.AgentVersion);
    });

    /// <exception cref="PeerProtocolException">The message is malformed or beyond its limits.</exception>
    public static IdentifyMessage Decode(ReadOnlySpan<byte> bytes)
    {
        PublicKey? key = null;
        Multiaddr? observed = null;
        var addresses = new List<Multiaddr>();
        var protocols = new List<string>();
        var (protocolVersion, agentVersion) = ("", "");
        var reader = new ProtobufReader(bytes);
        var ok = bytes.Length <= MaxLength;
        while (ok && reader.Next())
        {
            switch (reader.Field)
            {
                case 1:
                    ok = PublicKey.TryParse(reader.Bytes, out key);
                    break;
                case 2:
                    // Peers have addresses of transports that are not known here: those are no fault.
                    if (addresses.Count < MaxAddresses && Multiaddr.TryDecode(reader.Bytes, out var address))
                        addresses.Add(address);
                    break;
                case 3:
                    ok = protocols.Count < MaxProtocols && reader.Bytes.Length <= MaxText;
                    if (ok)
                        protocols.Add(Encoding.UTF8.GetString(reader.Bytes));
                    break;
                case 4:
                    Multiaddr.TryDecode(reader.Bytes, out observed);
                    break;
                case 5:
                    ok = reader.Bytes.Length <= MaxText;
                    protocolVersion = Encoding.UTF8.GetString(reader.Bytes);
                    break;
                case 6:
                    ok = reader.Bytes.Length <= MaxText;
                    agentVersion = Encoding.UTF8.GetString(reader.Bytes);
                    break;
            }
        }

        if (!ok || reader.Malformed)
            throw new PeerProtocolException("an identify message is malformed or too long");
        return new IdentifyMessage
        {
            PublicKey = key,
            ListenAddresses = addresses,
            Protocols = protocols,
            ObservedAddress = observed,
            ProtocolVersion = protocolVersion,
            AgentVersion = agentVersion,
        };
    }
}
