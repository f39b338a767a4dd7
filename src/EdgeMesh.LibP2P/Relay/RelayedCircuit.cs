using System.Buffers;
using EdgeMesh.LibP2P.Connections;

namespace EdgeMesh.LibP2P.Relay;

/// <summary>Two streams joined: bytes both ways, each end passed on by itself, both cut when a bound is reached.</summary>
internal static class RelayedCircuit
{
    private const int Chunk = 64 * 1024;

    internal static async Task RunAsync(PeerStream one, PeerStream other, RelayLimit? limit, TimeProvider time, CancellationToken cancellationToken)
    {
        using var deadline = Deadline.After(limit?.Duration ?? Timeout.InfiniteTimeSpan, time, cancellationToken);
        try
        {
            if (one.Connection.Driver is { } driver && driver.CanDrive(one) && driver.CanDrive(other))
                await driver.JoinAsync(one, other, limit?.Data, deadline.Token);
            else
                await Task.WhenAll(CopyAsync(one, other, limit?.Data, deadline.Token), CopyAsync(other, one, limit?.Data, deadline.Token));
        }
        catch (OperationCanceledException e) when (!cancellationToken.IsCancellationRequested)
        {
            throw new IOException("the relayed connection has stood as long as it may", e);
        }
    }

    private static async Task CopyAsync(PeerStream from, PeerStream to, long? limit, CancellationToken cancellationToken)
    {
        try
        {
            var left = limit ?? long.MaxValue;
            int count;
            do
            {
                // Thousands of circuits may stand idle: none holds a buffer meanwhile.
                await from.WaitToReadAsync(cancellationToken);
                var buffer = ArrayPool<byte>.Shared.Rent(Chunk);
                try
                {
                    count = await from.ReadAsync(buffer, cancellationToken);
                    if (count > left)
                        throw new IOException("the relayed connection has carried as many bytes as it may");
                    left -= count;
                    await to.WriteAsync(buffer.AsMemory(0, count), cancellationToken);
                }
                finally
                {
                    ArrayPool<byte>.Shared.Return(buffer);
                }
            }
            while (count > 0);

            to.CloseWrite();
        }
        catch
        {
            // The other direction waits on one of the two.
            from.Reset();
            to.Reset();
            throw;
        }
    }
}
