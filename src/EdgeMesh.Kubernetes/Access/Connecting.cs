using System.Net;
using System.Net.Sockets;

namespace EdgeMesh.Kubernetes.Access;

/// <summary>Opens TCP connections so that a server that comes back is found within two seconds. While nobody answers, the kernel asks
/// at 1, 3, 7 … s; so a further attempt begins each second beside those under way, and the first that stands is taken.</summary>
internal static class Connecting
{
    private static readonly TimeSpan BetweenAttempts = TimeSpan.FromSeconds(1);

    /// <param name="onSocket">Told each socket before it connects.</param>
    /// <param name="cancellationToken">Bounds the attempts, which are made until it ends.</param>
    /// <exception cref="SocketException">The name has no address, or every one refused.</exception>
    public static async ValueTask<Stream> ConnectAsync(DnsEndPoint target, Action<Socket>? onSocket, CancellationToken cancellationToken)
    {
        var addresses = await Dns.GetHostAddressesAsync(target.Host, cancellationToken);
        if (addresses.Length == 0)
            throw new SocketException((int)SocketError.HostNotFound);
        using var enough = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        var attempts = new List<Task<Socket>>();
        var refused = 0;
        try
        {
            for (var next = 0; ; next++)
            {
                attempts.Add(AttemptAsync(addresses[next % addresses.Length], target.Port, onSocket, enough.Token));
                var turn = Task.Delay(BetweenAttempts, enough.Token);
                while (attempts.Count > 0 && !turn.IsCompleted)
                {
                    if (await Task.WhenAny([turn, .. attempts]) is not Task<Socket> ended)
                        break;
                    attempts.Remove(ended);
                    if (ended.IsCompletedSuccessfully)
                        return new NetworkStream(await ended, ownsSocket: true);
                    // A refusal is an answer: the next address is asked at once, and after the last one it is told.
                    if (++refused >= addresses.Length && attempts.Count == 0)
                        await ended;
                }

                cancellationToken.ThrowIfCancellationRequested();
            }
        }
        finally
        {
            await enough.CancelAsync();
            foreach (var attempt in attempts)
                await DropAsync(attempt);
        }
    }

    private static async Task<Socket> AttemptAsync(IPAddress address, int port, Action<Socket>? onSocket, CancellationToken cancellationToken)
    {
        var socket = new Socket(address.AddressFamily, SocketType.Stream, ProtocolType.Tcp) { NoDelay = true };
        try
        {
            // A link that went away is noticed by HTTP/2 pings, and on HTTP/1.1 by these: 15 s + 3 probes of 5 s.
            socket.SetSocketOption(SocketOptionLevel.Socket, SocketOptionName.KeepAlive, optionValue: true);
            socket.SetSocketOption(SocketOptionLevel.Tcp, SocketOptionName.TcpKeepAliveTime, 15);
            socket.SetSocketOption(SocketOptionLevel.Tcp, SocketOptionName.TcpKeepAliveInterval, 5);
            socket.SetSocketOption(SocketOptionLevel.Tcp, SocketOptionName.TcpKeepAliveRetryCount, 3);
            onSocket?.Invoke(socket);
            await socket.ConnectAsync(address, port, cancellationToken);
            return socket;
        }
        catch
        {
            socket.Dispose();
            throw;
        }
    }

    private static async Task DropAsync(Task<Socket> attempt)
    {
        try
        {
            (await attempt).Dispose();
        }
        catch (Exception e) when (e is SocketException or OperationCanceledException)
        {
            // It did not come to stand.
        }
    }
}
