using EdgeMesh.LibP2P.Connections;

namespace EdgeMesh.LibP2P.Identify;

/// <summary>`/ipfs/id/1.0.0` and its push: peers tell each other what they speak and where they listen.</summary>
public sealed class IdentifyProtocol
{
    public const string Protocol = "/ipfs/id/1.0.0";
    public const string PushProtocol = "/ipfs/id/push/1.0.0";

    private readonly PeerHost _host;

    private IdentifyProtocol(PeerHost host) => _host = host;

    /// <summary>Answers identify on this host and takes pushes.</summary>
    public static IdentifyProtocol Attach(PeerHost host)
    {
        var identify = new IdentifyProtocol(host);
        host.Handle(Protocol, (stream, cancellationToken) => Negotiation.WriteMessageAsync(stream, identify.Message(stream.Connection), cancellationToken));
        host.Handle(PushProtocol, identify.TakeAsync);
        return identify;
    }

    /// <summary>Asks a peer who it says it is; the answer also stays with the connection.</summary>
    public async Task<IdentifyMessage> AskAsync(PeerConnection connection, CancellationToken cancellationToken)
    {
        await using var stream = await connection.OpenStreamAsync(Protocol, cancellationToken);
        stream.CloseWrite();
        await TakeAsync(stream, cancellationToken);
        return connection.Identity!;
    }

    /// <summary>Tells every connected peer that takes pushes what has changed here. Peers that do not are passed over.</summary>
    public async Task PushAsync(CancellationToken cancellationToken)
    {
        foreach (var connection in _host.Connections)
        {
            try
            {
                await using var stream = await connection.OpenStreamAsync(PushProtocol, cancellationToken);
                await Negotiation.WriteMessageAsync(stream, Message(connection), cancellationToken);
            }
            catch (Exception e) when (e is IOException or TimeoutException)
            {
                // The connection went, or the peer speaks no push: neither is this side's to mend.
            }
        }
    }

    private async Task TakeAsync(PeerStream stream, CancellationToken cancellationToken)
    {
        using var deadline = Deadline.After(_host.Options.NegotiationTimeout, _host.Options.Time, cancellationToken);
        stream.Connection.Identity = IdentifyMessage.Decode(await Negotiation.ReadMessageAsync(stream, IdentifyMessage.MaxLength, deadline.Token));
    }

    private byte[] Message(PeerConnection connection) => new IdentifyMessage
    {
        PublicKey = _host.Options.Identity.PublicKey,
        ListenAddresses = _host.ListenAddresses,
        Protocols = [.. _host.Protocols],
        ObservedAddress = connection.RemoteAddress,
        ProtocolVersion = "ipfs/0.1.0",
        AgentVersion = _host.Options.AgentVersion,
    }.Encode();
}
