using System.Buffers;
using System.Buffers.Binary;
using System.Net.Sockets;
using EdgeMesh.LibP2P.Connections;
using EdgeMesh.Linux.Datagrams;

namespace EdgeMesh.Tunnel.Proxy;

/// <summary>
/// Datagrams both ways between a connected datagram socket and a stream. On the stream each has its length in front (2 bytes,
/// big-endian), so that borders are kept; peers of the first protocol send them bare. While the stream takes no more, the
/// socket's own buffer fills and the kernel drops, as UDP does. Owns both.
/// </summary>
internal sealed class DatagramRelay(Socket socket, PeerStream stream, bool bordered, TimeSpan idle, TimeProvider time, MeshCounters counters)
{
    private const int Chunk = 64 * 1024;
    private const int Header = 2;
    private const int Largest = 65_507;

    private long _lastDatagram = time.GetTimestamp();
    private long _toStream;
    private long _toSocket;

    internal long ToStream => Volatile.Read(ref _toStream);

    internal long ToSocket => Volatile.Read(ref _toSocket);

    /// <summary>Runs until the flow is idle, or either end is gone.</summary>
    internal async Task RunAsync(CancellationToken cancellationToken)
    {
        using var over = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        Task[] parts = [SendAsync(over.Token), ReceiveAsync(over.Token), WatchAsync(over.Token)];
        await Task.WhenAny(parts);
        // The socket's end first: whoever sends to it from now on learns that nobody is there.
        socket.Dispose();
        stream.Reset();
        await over.CancelAsync();
        await Task.WhenAll(parts);
    }

    /// <summary>One datagram with its border, as it goes over the stream.</summary>
    internal static int Frame(Span<byte> framed, int length)
    {
        BinaryPrimitives.WriteUInt16BigEndian(framed, (ushort)length);
        return Header + length;
    }

    private async Task SendAsync(CancellationToken cancellationToken)
    {
        try
        {
            while (true)
            {
                await socket.ReceiveAsync(Memory<byte>.Empty, SocketFlags.Peek, cancellationToken);
                var buffer = ArrayPool<byte>.Shared.Rent(Chunk);
                try
                {
                    var count = await socket.ReceiveAsync(buffer.AsMemory(Header, Chunk - Header), cancellationToken);
                    if (count == 0 && DatagramPair.IsOtherEndClosed((int)socket.Handle))
                        return;
                    if (count > Largest)
                    {
                        counters.CountDatagramDropped();
                        continue;
                    }

                    await stream.WriteAsync(bordered ? buffer.AsMemory(0, Frame(buffer, count)) : buffer.AsMemory(Header, count), cancellationToken);
                    Note(ref _toStream, count);
                    counters.CountSent(count);
                }
                finally
                {
                    ArrayPool<byte>.Shared.Return(buffer);
                }
            }
        }
        catch (Exception e) when (e is SocketException or IOException or ObjectDisposedException or OperationCanceledException)
        {
            // One of the two ends is gone, and the flow with it.
        }
    }

    private async Task ReceiveAsync(CancellationToken cancellationToken)
    {
        try
        {
            while (true)
            {
                await stream.WaitToReadAsync(cancellationToken);
                var buffer = ArrayPool<byte>.Shared.Rent(Chunk);
                try
                {
                    var count = await ReadOneAsync(buffer, cancellationToken);
                    if (count < 0)
                        return;
                    if (count > Largest)
                    {
                        counters.CountDatagramDropped();
                        continue;
                    }

                    await socket.SendAsync(buffer.AsMemory(0, count), cancellationToken);
                    Note(ref _toSocket, count);
                    counters.CountReceived(count);
                }
                finally
                {
                    ArrayPool<byte>.Shared.Return(buffer);
                }
            }
        }
        catch (Exception e) when (e is SocketException or IOException or ObjectDisposedException or OperationCanceledException)
        {
            // One of the two ends is gone, and the flow with it.
        }
    }

    /// <summary>The length of the next datagram, which may be zero; negative at the end.</summary>
    private async ValueTask<int> ReadOneAsync(byte[] buffer, CancellationToken cancellationToken)
    {
        if (!bordered)
            return await stream.ReadAsync(buffer.AsMemory(0, Largest), cancellationToken) is var some and > 0 ? some : -1;
        if (await stream.ReadAtLeastAsync(buffer.AsMemory(0, Header), Header, throwOnEndOfStream: false, cancellationToken) < Header)
            return -1;
        var length = BinaryPrimitives.ReadUInt16BigEndian(buffer);
        return await stream.ReadAtLeastAsync(buffer.AsMemory(0, length), length, throwOnEndOfStream: false, cancellationToken) < length ? -1 : length;
    }

    private async Task WatchAsync(CancellationToken cancellationToken)
    {
        try
        {
            using var timer = new PeriodicTimer(idle / 4, time);
            while (await timer.WaitForNextTickAsync(cancellationToken) && time.GetElapsedTime(Volatile.Read(ref _lastDatagram)) < idle)
            {
            }
        }
        catch (OperationCanceledException)
        {
            // The flow ended before it was idle.
        }
    }

    private void Note(ref long bytes, int count)
    {
        Interlocked.Add(ref bytes, count);
        Volatile.Write(ref _lastDatagram, time.GetTimestamp());
    }
}
