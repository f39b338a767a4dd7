using System.Buffers;
using System.Net.Sockets;
using EdgeMesh.LibP2P.Connections;

namespace EdgeMesh.Tunnel.Proxy;

/// <summary>How a relayed connection ended, as seen from its socket.</summary>
internal enum RelayEnd
{
    Completed,
    SocketReset,
    StreamReset,
    SessionLost,
    GaveWay,
    Stopped,
}

/// <summary>Bytes both ways between a TCP socket and a stream, each end passed on by itself. Holds no buffer while nothing
/// comes. Owns both: they are closed when it is done, and reset if either was.</summary>
/// <param name="moved">Told whenever bytes moved.</param>
internal sealed class ProxyRelay(Socket socket, PeerStream stream, MeshCounters counters, Action? moved = null)
{
    private const int Chunk = 64 * 1024;

    private readonly Lock _gate = new();
    private RelayEnd? _broken;
    private long _toStream;
    private long _toSocket;

    /// <summary>Bytes read from the socket and sent.</summary>
    internal long ToStream => Volatile.Read(ref _toStream);

    internal long ToSocket => Volatile.Read(ref _toSocket);

    /// <param name="ended">The socket has given its last byte already.</param>
    internal async Task<RelayEnd> RunAsync(bool ended, CancellationToken cancellationToken)
    {
        await using var stop = cancellationToken.UnsafeRegister(static relay => ((ProxyRelay)relay!).Break(RelayEnd.Stopped), this);
        await Task.WhenAll(SendAsync(ended), ReceiveAsync());
        lock (_gate)
        {
            if (_broken is { } reason)
                return reason;
            socket.Dispose();
            stream.Dispose();
            return RelayEnd.Completed;
        }
    }

    private async Task SendAsync(bool ended)
    {
        try
        {
            while (!ended)
            {
                // Zero bytes are asked for first: they come when there is something, and until then no buffer is held.
                await socket.ReceiveAsync(Memory<byte>.Empty);
                var buffer = ArrayPool<byte>.Shared.Rent(Chunk);
                try
                {
                    var count = await socket.ReceiveAsync(buffer.AsMemory(0, Chunk));
                    ended = count == 0;
                    if (count > 0)
                        await WriteAsync(buffer.AsMemory(0, count));
                }
                finally
                {
                    ArrayPool<byte>.Shared.Return(buffer);
                }
            }

            stream.CloseWrite();
        }
        catch (SocketException)
        {
            Break(RelayEnd.SocketReset);
        }
        catch (Exception e) when (e is IOException or ObjectDisposedException)
        {
            Break(stream.Connection.Failure is null ? RelayEnd.StreamReset : RelayEnd.SessionLost);
        }
    }

    private async ValueTask WriteAsync(ReadOnlyMemory<byte> bytes)
    {
        await stream.WriteAsync(bytes);
        Interlocked.Add(ref _toStream, bytes.Length);
        moved?.Invoke();
        counters.CountSent(bytes.Length);
    }

    private async Task ReceiveAsync()
    {
        try
        {
            var more = true;
            while (more)
            {
                await stream.WaitToReadAsync(CancellationToken.None);
                var buffer = ArrayPool<byte>.Shared.Rent(Chunk);
                try
                {
                    var count = await stream.ReadAsync(buffer.AsMemory(0, Chunk));
                    more = count > 0;
                    for (var sent = 0; sent < count;)
                        sent += await socket.SendAsync(buffer.AsMemory(sent, count - sent));
                    Interlocked.Add(ref _toSocket, count);
                    moved?.Invoke();
                    counters.CountReceived(count);
                }
                finally
                {
                    ArrayPool<byte>.Shared.Return(buffer);
                }
            }

            socket.Shutdown(SocketShutdown.Send);
        }
        catch (SocketException)
        {
            Break(RelayEnd.SocketReset);
        }
        catch (Exception e) when (e is IOException or ObjectDisposedException)
        {
            Break(stream.Connection.Failure is null ? RelayEnd.StreamReset : RelayEnd.SessionLost);
        }
    }

    /// <summary>Resets both, so that neither direction waits any longer. The first reason counts.</summary>
    internal void Break(RelayEnd reason)
    {
        lock (_gate)
        {
            if (_broken is not null)
                return;
            _broken = reason;
        }

        stream.Reset();
        socket.Abort();
    }
}
