using System.Net;
using System.Net.Sockets;

namespace EdgeMesh.LibP2P.Connections;

/// <summary>
/// Moves the bytes of a host's connections on a thread of its own, instead of by tasks of each connection:
/// <code>
///   ConnectAsync, Accept -> transports, read and written asynchronously during the handshake
///   CanDrive, Drive      -> from then on the driver reads, feeds <see cref="ConnectionDrive.Receive"/>, and sends what
///                           <see cref="ConnectionDrive.Seal"/> gives
/// </code>
/// </summary>
public abstract class ConnectionDriver
{
    /// <summary>Connects to a TCP endpoint.</summary>
    /// <exception cref="IOException">It could not be reached.</exception>
    public abstract Task<Stream> ConnectAsync(IPEndPoint endPoint, CancellationToken cancellationToken);

    /// <summary>Takes the connections of a listening socket, which it owns from then on, until the result is disposed of.</summary>
    /// <param name="arrived">Told of each, with its transport, from any thread; must be quick. Those that the driver turns away
    /// by itself never come here.</param>
    public abstract IAsyncDisposable Accept(Socket listener, Action<Stream, IPEndPoint> arrived);

    /// <summary>Whether it can take the bytes of a connection over <paramref name="transport"/> over: one of its own, or a stream
    /// of a connection that it drives.</summary>
    public abstract bool CanDrive(Stream transport);

    /// <summary>Takes it over, until it calls <see cref="ConnectionDrive.Finish"/>. From any thread.</summary>
    public abstract void Drive(Stream transport, ConnectionDrive drive);

    /// <summary>Joins two streams of connections that it drives: bytes both ways, each end passed on by itself, until both have
    /// ended or either is lost.</summary>
    /// <param name="limit">Most bytes of each direction; null for no bound.</param>
    /// <exception cref="IOException">One was lost or the bound was reached: both are reset.</exception>
    public abstract Task JoinAsync(PeerStream one, PeerStream other, long? limit, CancellationToken cancellationToken);
}
