using System.Globalization;
using System.Net;
using System.Net.Sockets;
using System.Text;

namespace EdgeMesh.Testing.Lab;

/// <summary>A TCP server in a pod that does what the first line of a connection says:
/// <c>WHO</c> names the pod, <c>ECHO</c> sends back everything until the client shuts down,
/// <c>SEND n</c> waits for the client to shut down and then sends n bytes, <c>HOLD</c> answers a line and stays,
/// <c>EARLY</c> answers and closes while the client still sends, which resets the connection behind the answer;
/// an HTTP request gets the name of the pod as a page.</summary>
public sealed class PodServer : IAsyncDisposable
{
    private readonly Socket _listener;
    private readonly string _pod;
    private readonly CancellationTokenSource _stop = new();
    private readonly Task _accepting;
    private int _open;
    private long _accepted;

    public PodServer(NetworkNamespace space, string pod, IPAddress address, int port)
    {
        _pod = pod;
        _listener = space.NewSocket(address.AddressFamily, SocketType.Stream);
        _listener.SetSocketOption(SocketOptionLevel.Socket, SocketOptionName.ReuseAddress, true);
        _listener.Bind(new IPEndPoint(address, port));
        _listener.Listen(4096);
        _accepting = AcceptAsync();
    }

    /// <summary>Connections open now.</summary>
    public int Open => Volatile.Read(ref _open);

    /// <summary>Connections accepted since the start.</summary>
    public long Accepted => Interlocked.Read(ref _accepted);

    public async ValueTask DisposeAsync()
    {
        await _stop.CancelAsync();
        _listener.Dispose();
        await _accepting;
        _stop.Dispose();
    }

    private async Task AcceptAsync()
    {
        while (!_stop.IsCancellationRequested)
        {
            try
            {
                var connection = await _listener.AcceptAsync(_stop.Token);
                Interlocked.Increment(ref _accepted);
                _ = ServeAsync(connection);
            }
            catch (OperationCanceledException)
            {
                return;
            }
            catch (Exception e) when (e is SocketException or ObjectDisposedException)
            {
                if (_stop.IsCancellationRequested)
                    return;
            }
        }
    }

    private async Task ServeAsync(Socket connection)
    {
        Interlocked.Increment(ref _open);
        try
        {
            using (connection)
            {
                connection.NoDelay = true;
                var buffer = new byte[16 * 1024];
                var length = 0;
                while (buffer.AsSpan(0, length).IndexOf((byte)'\n') < 0)
                {
                    var read = await connection.ReceiveAsync(buffer.AsMemory(length), _stop.Token);
                    if (read == 0)
                        return;
                    length += read;
                }

                var end = buffer.AsSpan(0, length).IndexOf((byte)'\n') + 1;
                var line = Encoding.ASCII.GetString(buffer, 0, end).Trim();
                await DoAsync(connection, line, buffer, end, length);
            }
        }
        catch (Exception e) when (e is SocketException or OperationCanceledException or ObjectDisposedException)
        {
            // The client went away, or the lab ends.
        }
        finally
        {
            Interlocked.Decrement(ref _open);
        }
    }

    private async Task DoAsync(Socket connection, string line, byte[] buffer, int end, int length)
    {
        var who = $"{_pod} {connection.LocalEndPoint} from {((IPEndPoint)connection.RemoteEndPoint!).Address}\n";
        switch (line.Split(' ')[0])
        {
            case "WHO":
                await SendAsync(connection, Encoding.ASCII.GetBytes(who));
                break;
            case "ECHO":
                await SendAsync(connection, buffer.AsMemory(end, length - end));
                for (int read; (read = await connection.ReceiveAsync(buffer, _stop.Token)) > 0;)
                    await SendAsync(connection, buffer.AsMemory(0, read));
                break;
            case "EARLY":
                await SendAsync(connection, Encoding.ASCII.GetBytes(who));
                return;
            case "HOLD":
                await SendAsync(connection, Encoding.ASCII.GetBytes(who));
                while (await connection.ReceiveAsync(buffer, _stop.Token) > 0)
                {
                }

                break;
            case "SEND":
                while (await connection.ReceiveAsync(buffer, _stop.Token) > 0)
                {
                }

                await SendPatternAsync(connection, long.Parse(line.Split(' ')[1], CultureInfo.InvariantCulture));
                break;
            case "GET":
                await SendAsync(connection, Encoding.ASCII.GetBytes(
                    $"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {who.Length}\r\nConnection: close\r\n\r\n{who}"));
                break;
            default:
                return;
        }

        connection.Shutdown(SocketShutdown.Send);
        // Closing with unread bytes would send a reset that overtakes what was just sent.
        while (await connection.ReceiveAsync(buffer, _stop.Token) > 0)
        {
        }
    }

    private async Task SendPatternAsync(Socket connection, long count)
    {
        var chunk = Pattern(64 * 1024);
        for (long sent = 0; sent < count; sent += chunk.Length)
            await SendAsync(connection, chunk.AsMemory(0, (int)Math.Min(chunk.Length, count - sent)));
    }

    /// <summary>The bytes that SEND sends, repeated every 64 KiB.</summary>
    public static byte[] Pattern(int length)
    {
        var bytes = new byte[length];
        for (var i = 0; i < length; i++)
            bytes[i] = (byte)((i * 31) ^ (i >> 8));
        return bytes;
    }

    private async Task SendAsync(Socket connection, ReadOnlyMemory<byte> bytes)
    {
        while (bytes.Length > 0)
            bytes = bytes[await connection.SendAsync(bytes, _stop.Token)..];
    }
}
