using System.Collections.Concurrent;
using System.Net;
using System.Net.Sockets;
using EdgeMesh.Linux;
using EdgeMesh.Net;

namespace EdgeMesh.Tests.Tunnel;

/// <summary>A TCP address in front of another that a test can shut, silence, slow down and open again.</summary>
internal sealed class Door : IAsyncDisposable
{
    private InetEndpoint _behind;
    private readonly CancellationTokenSource _over = new();
    private readonly ConcurrentDictionary<Socket, byte> _passing = new();
    private readonly IPEndPoint _at;
    private Socket _listener;
    private Task _accepting = Task.CompletedTask;
    private TaskCompletionSource _loud = Opened();

    internal Door(InetEndpoint behind, string address, bool open = true)
    {
        _behind = behind;
        // Bound and not listening: connections are refused, and the port stays reserved.
        _listener = Bind(new IPEndPoint(IPAddress.Parse(address), 0));
        _at = (IPEndPoint)_listener.LocalEndPoint!;
        if (open)
            Open();
    }

    internal InetEndpoint Address => new(InetAddress.From(_at.Address), (ushort)_at.Port);

    /// <summary>Added to each piece of bytes in each direction.</summary>
    internal TimeSpan Delay { get; init; }

    internal void Open(InetEndpoint? behind = null)
    {
        _behind = behind ?? _behind;
        _listener.Listen();
        _accepting = AcceptAsync(_listener);
    }

    /// <summary>Refuses new connections and breaks those that stand.</summary>
    internal void Shut()
    {
        _listener.Dispose();
        _listener = Bind(_at);
        foreach (var socket in _passing.Keys)
            socket.Dispose();
    }

    /// <summary>Takes connections and bytes, and passes nothing on: a link that swallows packets.</summary>
    internal void Silence() => Interlocked.CompareExchange(ref _loud, new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously), _loud);

    internal void Speak() => _loud.TrySetResult();

    private static TaskCompletionSource Opened()
    {
        var opened = new TaskCompletionSource();
        opened.SetResult();
        return opened;
    }

    private static Socket Bind(IPEndPoint at)
    {
        var socket = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
        socket.SetSocketOption(SocketOptionLevel.Socket, SocketOptionName.ReuseAddress, true);
        socket.Bind(at);
        return socket;
    }

    private async Task AcceptAsync(Socket listener)
    {
        try
        {
            while (true)
                _ = PassAsync(await listener.AcceptAsync(_over.Token));
        }
        catch (Exception e) when (e is SocketException or ObjectDisposedException or OperationCanceledException)
        {
            // Shut.
        }
    }

    private async Task PassAsync(Socket outer)
    {
        var inner = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp) { NoDelay = true };
        using (outer)
        using (inner)
        {
            outer.NoDelay = true;
            _passing[outer] = _passing[inner] = 0;
            try
            {
                await inner.ConnectAsync(_behind.Address.ToIPAddress(), _behind.Port, _over.Token);
                await Task.WhenAny(CopyAsync(outer, inner), CopyAsync(inner, outer));
            }
            catch (Exception e) when (e is SocketException or ObjectDisposedException or OperationCanceledException)
            {
                // Nobody is behind the door, or it was shut.
            }

            _passing.TryRemove(outer, out _);
            _passing.TryRemove(inner, out _);
        }
    }

    private async Task CopyAsync(Socket from, Socket to)
    {
        var buffer = new byte[16 * 1024];
        try
        {
            int count;
            while ((count = await from.ReceiveAsync(buffer, _over.Token)) > 0)
            {
                await _loud.Task.WaitAsync(_over.Token);
                if (Delay > TimeSpan.Zero)
                {
                    using var timer = new PeriodicTimer(Delay);
                    await timer.WaitForNextTickAsync(_over.Token);
                }

                await MeshLab.SendAsync(to, buffer.AsMemory(0, count), _over.Token);
            }
        }
        catch (Exception e) when (e is SocketException or ObjectDisposedException or OperationCanceledException)
        {
            // Either side is gone.
        }
    }

    public async ValueTask DisposeAsync()
    {
        await _over.CancelAsync();
        Shut();
        _listener.Dispose();
        await _accepting;
    }
}
