using System.Net.Sockets;
using System.Security.Cryptography;
using EdgeMesh.Agent.Hosting.Handover;
using EdgeMesh.Linux.Netlink;

namespace EdgeMesh.Agent.Hosting;

/// <summary>Keeps a second agent off the same network namespace, which is what two agents would fight over. The claim stands
/// on the listen device, where only CAP_NET_ADMIN can write, and names a socket that the kernel takes back when its owner
/// dies (decision 15). Who visits that socket first knocks where only CAP_NET_ADMIN can; others are not listened to.</summary>
internal sealed class InstanceSocket : IAsyncDisposable
{
    /// <summary>The name that release 0.1.0 claims. Held so that one of these, started later, stays away; nothing depends on it.</summary>
    public static readonly UnixDomainSocketEndPoint FirstName = new("\0edgemesh-agent");

    private const int Backlog = 128;
    private const int MostKnocks = 8;
    private static readonly TimeSpan TokenDeadline = TimeSpan.FromSeconds(1);
    private static readonly TimeSpan LookInterval = TimeSpan.FromSeconds(5);

    private readonly string _device;
    private readonly NodeClaim _claim;
    private readonly Socket _socket;
    private readonly Socket? _firstName;
    private readonly KnockSocket _knocks;
    private readonly Action<HandoverLine> _visit;
    private readonly Strangers _strangers = new();
    private readonly Queue<string> _tokens = new();
    private readonly Lock _lock = new();
    private readonly CancellationTokenSource _stop = new();
    private readonly Task _running;

    private InstanceSocket(string device, NodeClaim claim, Socket socket, KnockSocket knocks, Action<HandoverLine> visit)
    {
        _device = device;
        _claim = claim;
        _socket = socket;
        _knocks = knocks;
        _visit = visit;
        _firstName = TryListen(FirstName);
        _running = Task.WhenAll(AcceptAsync(), KeepAsync());
    }

    /// <param name="device">The listen device; it must be there.</param>
    /// <param name="visit">Called for everybody who connects and has the right to; owns the line, and must not block.</param>
    /// <returns>Null when somebody else holds the node.</returns>
    /// <exception cref="NetlinkException">The device cannot be marked.</exception>
    public static InstanceSocket? TryClaim(string device, Action<HandoverLine> visit)
    {
        if (FindHolder() is not null)
            return null;
        var name = NodeClaim.NewName();
        var socket = TryListen(new UnixDomainSocketEndPoint("\0" + name)) ?? throw new IOException("A random socket name is taken.");
        KnockSocket? knocks = null;
        try
        {
            knocks = KnockSocket.Open();
            var claim = new NodeClaim(name, Linux.UnixListeners.InodeOf(name) ?? throw new IOException("/proc/net/unix does not show this process's own socket."), knocks.Port);
            var before = LinkMarks.Exchange(device, claim.ToString());
            // Another agent that starts at this moment was faster: its claim stands.
            if (NodeClaim.Parse(before) is { } other && other.IsHeld())
                LinkMarks.Exchange(device, before);
            else if (FindHolder(except: claim) is not { } rival || string.CompareOrdinal(claim.Name, rival.Name) < 0)
                return new InstanceSocket(device, claim, socket, knocks, visit);
            else
                Unmark(device, claim);
        }
        catch
        {
            knocks?.Dispose();
            socket.Dispose();
            throw;
        }

        knocks.Dispose();
        socket.Dispose();
        return null;
    }

    /// <returns>The claim of a living agent; null when there is none.</returns>
    public static NodeClaim? FindHolder(NodeClaim? except = null) =>
        LinkMarks.Find(NodeClaim.Beginning).Select(mark => NodeClaim.Parse(mark.Text)).FirstOrDefault(claim => claim is not null && claim != except && claim.IsHeld());

    /// <returns>Null when the holder does not take visitors (any more).</returns>
    public static async Task<HandoverLine?> VisitAsync(NodeClaim holder, TimeProvider time, CancellationToken cancellationToken)
    {
        var token = RandomNumberGenerator.GetHexString(32);
        if (!KnockSocket.TryKnock(holder.Port, token) || await ConnectAsync(new UnixDomainSocketEndPoint("\0" + holder.Name), time, cancellationToken) is not { } line)
            return null;
        if (await line.WriteAsync(token, cancellationToken))
            return line;
        line.Dispose();
        return null;
    }

    /// <returns>Null when nobody listens there.</returns>
    public static async Task<HandoverLine?> ConnectAsync(UnixDomainSocketEndPoint address, TimeProvider time, CancellationToken cancellationToken)
    {
        var socket = NewSocket();
        try
        {
            // Nearly every start finds nobody here. An exception that says so would cost 10 ms and, for good, 1 MB: of a socket's
            // exception the runtime resolves the stack at once, and keeps a table of all methods for it.
            using var connect = new SocketAsyncEventArgs { RemoteEndPoint = address };
            var told = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
            connect.Completed += (_, _) => told.TrySetResult();
            if (socket.ConnectAsync(connect))
                await told.Task.WaitAsync(TokenDeadline, time, cancellationToken);
            if (connect.SocketError == SocketError.Success)
                return new HandoverLine(socket, time);
        }
        catch (TimeoutException)
        {
            // As good as nobody.
        }
        catch
        {
            socket.Dispose();
            throw;
        }

        socket.Dispose();
        return null;
    }

    public async ValueTask DisposeAsync()
    {
        await _stop.CancelAsync();
        _socket.Dispose();
        _firstName?.Dispose();
        await _running;
        await _strangers.DisposeAsync();
        try
        {
            Unmark(_device, _claim);
        }
        catch (NetlinkException)
        {
            // The device is gone. A mark that stays names a socket that is not there any more.
        }

        _knocks.Dispose();
        _stop.Dispose();
    }

    private static void Unmark(string device, NodeClaim claim)
    {
        var before = LinkMarks.Exchange(device, NodeClaim.Vacant);
        if (before != claim.ToString())
            LinkMarks.Exchange(device, before);
    }

    private static Socket NewSocket() => new(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);

    private static Socket? TryListen(UnixDomainSocketEndPoint address)
    {
        var socket = NewSocket();
        try
        {
            socket.Bind(address);
            socket.Listen(Backlog);
            return socket;
        }
        catch (SocketException)
        {
            socket.Dispose();
            return null;
        }
    }

    private async Task AcceptAsync()
    {
        // What the first visit runs must not run within the constructor.
        await Task.Yield();
        while (!_stop.IsCancellationRequested)
        {
            try
            {
                var line = new HandoverLine(await _socket.AcceptAsync(_stop.Token), TimeProvider.System);
                _strangers.Add(line, AskAsync);
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

    /// <returns>True when the line is a visitor's now.</returns>
    private async Task<bool> AskAsync(HandoverLine line)
    {
        if (await line.ReadAsync(TokenDeadline, CancellationToken.None) is not { } token || !HasKnocked(token))
            return false;
        _visit(line);
        return true;
    }

    /// <summary>A knock is sent before its token is said, so it has arrived by now.</summary>
    private bool HasKnocked(string token)
    {
        lock (_lock)
        {
            while (!_stop.IsCancellationRequested && _knocks.TryTake() is { } knock)
            {
                if (_tokens.Count == MostKnocks)
                    _tokens.Dequeue();
                _tokens.Enqueue(knock);
            }

            return token.Length > 0 && _tokens.Contains(token);
        }
    }

    /// <summary>The device may be deleted and made again, or its alias be overwritten; the claim is written again then.</summary>
    private async Task KeepAsync()
    {
        using var timer = new PeriodicTimer(LookInterval);
        try
        {
            while (await timer.WaitForNextTickAsync(_stop.Token))
                Keep();
        }
        catch (OperationCanceledException)
        {
            // The claim is given up.
        }
    }

    private void Keep()
    {
        try
        {
            if (LinkMarks.Find(NodeClaim.Beginning).All(mark => mark.Text != _claim.ToString()) && FindHolder() is null)
                LinkMarks.Exchange(_device, _claim.ToString());
        }
        catch (Exception fault) when (fault is NetlinkException or IOException)
        {
            // The guard makes the device again, and says so.
        }
    }
}
