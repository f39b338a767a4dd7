using System.Net.Sockets;
using System.Security.Cryptography;
using Xunit;

namespace EdgeMesh.HostTests.Tunnel;

/// <summary>Sends random bytes to a pod that sends them back, and compares what was sent with what came by its SHA-256.</summary>
internal static class Transfer
{
    /// <returns>How long it took.</returns>
    public static async Task<TimeSpan> EchoAsync(Socket socket, long bytes, TimeSpan deadline)
    {
        using var timeout = new CancellationTokenSource(deadline);
        var start = TimeProvider.System.GetTimestamp();
        var sending = SendAsync(socket, bytes, timeout.Token);
        using var came = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        var buffer = new byte[256 * 1024];
        long received = 0;
        for (int read; (read = await socket.ReceiveAsync(buffer, timeout.Token)) > 0; received += read)
            came.AppendData(buffer, 0, read);
        Assert.Equal(bytes, received);
        Assert.Equal(Convert.ToHexString(await sending), Convert.ToHexString(came.GetHashAndReset()));
        return TimeProvider.System.GetElapsedTime(start);
    }

    private static async Task<byte[]> SendAsync(Socket socket, long bytes, CancellationToken cancellationToken)
    {
        await socket.SendAsync("ECHO\n"u8.ToArray(), cancellationToken);
        using var sent = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        var buffer = new byte[256 * 1024];
        for (var left = bytes; left > 0;)
        {
            var piece = buffer.AsMemory(0, (int)Math.Min(buffer.Length, left));
            Random.Shared.NextBytes(piece.Span);
            sent.AppendData(piece.Span);
            left -= piece.Length;
            while (!piece.IsEmpty)
                piece = piece[await socket.SendAsync(piece, cancellationToken)..];
        }

        socket.Shutdown(SocketShutdown.Send);
        return sent.GetHashAndReset();
    }
}
