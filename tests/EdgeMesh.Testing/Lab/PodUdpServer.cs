using System.Net;
using System.Net.Sockets;
using System.Text;

namespace EdgeMesh.Testing.Lab;

/// <summary>A UDP server in a pod: <c>WHO</c> is answered with the name of the pod, anything else comes back unchanged.</summary>
public sealed class PodUdpServer : IAsyncDisposable
{
    private readonly Socket _socket;
    private readonly string _pod;
    private readonly CancellationTokenSource _stop = new();
    private readonly Task _serving;

    public PodUdpServer(NetworkNamespace space, string pod, IPAddress address, int port)
    {
        _pod = pod;
        _socket = space.NewSocket(address.AddressFamily, SocketType.Dgram);
        _socket.ReceiveBufferSize = 4 << 20;
        _socket.Bind(new IPEndPoint(address, port));
        _serving = ServeAsync();
    }

    public async ValueTask DisposeAsync()
    {
        await _stop.CancelAsync();
        _socket.Dispose();
        await _serving;
        _stop.Dispose();
    }

    private async Task ServeAsync()
    {
        var buffer = new byte[65_536];
        var anyone = new IPEndPoint(_socket.AddressFamily == AddressFamily.InterNetwork ? IPAddress.Any : IPAddress.IPv6Any, 0);
        while (!_stop.IsCancellationRequested)
        {
            try
            {
                var got = await _socket.ReceiveFromAsync(buffer, SocketFlags.None, anyone, _stop.Token);
                var from = (IPEndPoint)got.RemoteEndPoint;
                var answer = buffer.AsMemory(0, got.ReceivedBytes);
                if (answer.Span.SequenceEqual("WHO"u8))
                    answer = Encoding.ASCII.GetBytes($"{_pod} {_socket.LocalEndPoint} from {from.Address}");
                await _socket.SendToAsync(answer, SocketFlags.None, from, _stop.Token);
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
}
