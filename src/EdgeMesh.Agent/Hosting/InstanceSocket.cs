using System.Net.Sockets;
using EdgeMesh.Agent.Hosting.Handover;

namespace EdgeMesh.Agent.Hosting;

/// <summary>Keeps a second agent off the same network. An abstract unix socket (unix(7)) belongs to the network namespace,
/// which is exactly what two agents would fight over, and the kernel takes it back when its owner dies: unlike a lock
/// file it cannot be left behind, and agents in two containers with the host's network see each other.</summary>
internal sealed class InstanceSocket : IAsyncDisposable
{
    private static readonly UnixDomainSocketEndPoint Address = new("\0edgemesh-agent");

    private readonly Socket _socket;
    private readonly Action<HandoverLine> _visit;
    private readonly CancellationTokenSource _stop = new();
    private readonly Task _accepting;

    private InstanceSocket(Socket socket, Action<HandoverLine> visit)
    {
        _socket = socket;
        _visit = visit;
        _accepting = AcceptAsync();
    }

    /// <param name="visit">Called for everybody who connects; owns the line, and must not block.</param>
    /// <returns>Null when somebody else holds it.</returns>
    public static InstanceSocket? TryClaim(Action<HandoverLine> visit)
    {
        var socket = NewSocket();
        try
        {
            socket.Bind(Address);
            socket.Listen(8);
            return new InstanceSocket(socket, visit);
        }
        catch (SocketException taken) when (taken.SocketErrorCode == SocketError.AddressAlreadyInUse)
        {
            socket.Dispose();
            return null;
        }
        catch
        {
            socket.Dispose();
            throw;
        }
    }

    /// <returns>Null when nobody holds it (any more).</returns>
    public static async Task<HandoverLine?> VisitAsync(TimeProvider time, CancellationToken cancellationToken)
    {
        var socket = NewSocket();
        try
        {
            await socket.ConnectAsync(Address, cancellationToken);
            return new HandoverLine(socket, time);
        }
        catch (SocketException)
        {
            socket.Dispose();
            return null;
        }
        catch
        {
            socket.Dispose();
            throw;
        }
    }

    public async ValueTask DisposeAsync()
    {
        await _stop.CancelAsync();
        _socket.Dispose();
        await _accepting;
        _stop.Dispose();
    }

    private static Socket NewSocket() => new(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);

    private async Task AcceptAsync()
    {
        // What the first visit runs must not run within the constructor.
        await Task.Yield();
        while (!_stop.IsCancellationRequested)
        {
            try
            {
                _visit(new HandoverLine(await _socket.AcceptAsync(_stop.Token), TimeProvider.System));
            }
            catch (Exception end) when (end is OperationCanceledException or ObjectDisposedException)
            {
                return;
            }
            catch (SocketException)
            {
                // The visitor went away, or no descriptor is left; the next one may stay.
                await Task.Delay(TimeSpan.FromMilliseconds(100), _stop.Token).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            }
        }
    }
}
