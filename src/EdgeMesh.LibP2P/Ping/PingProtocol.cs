using System.Security.Cryptography;
using EdgeMesh.LibP2P.Connections;

namespace EdgeMesh.LibP2P.Ping;

/// <summary>`/ipfs/ping/1.0.0`: 32 bytes, echoed, as often as the dialer likes.</summary>
public static class PingProtocol
{
    public const string Protocol = "/ipfs/ping/1.0.0";

    private const int Size = 32;

    /// <summary>Answers pings on this host.</summary>
    public static void Attach(PeerHost host) => host.Handle(Protocol, EchoAsync);

    /// <summary>The round trip to the peer and back through everything: muxer, encryption, the peer's program.</summary>
    public static async Task<TimeSpan> PingAsync(PeerConnection connection, TimeProvider time, CancellationToken cancellationToken)
    {
        await using var stream = await connection.OpenStreamAsync(Protocol, cancellationToken);
        var sent = RandomNumberGenerator.GetBytes(Size);
        var begun = time.GetTimestamp();
        await stream.WriteAsync(sent, cancellationToken);
        var echoed = new byte[Size];
        await stream.ReadExactlyAsync(echoed, cancellationToken);
        if (!sent.AsSpan().SequenceEqual(echoed))
            throw new PeerProtocolException("the peer echoed other bytes than were sent");
        return time.GetElapsedTime(begun);
    }

    private static async Task EchoAsync(PeerStream stream, CancellationToken cancellationToken)
    {
        var buffer = new byte[Size];
        while (await stream.ReadAtLeastAsync(buffer, Size, throwOnEndOfStream: false, cancellationToken) == Size)
            await stream.WriteAsync(buffer, cancellationToken);
    }
}
