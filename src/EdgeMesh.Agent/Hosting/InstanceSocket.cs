using System.Net.Sockets;
using System.Text;

namespace EdgeMesh.Agent.Hosting;

/// <summary>Keeps a second agent off the same network. An abstract unix socket (unix(7)) belongs to the network namespace,
/// which is exactly what two agents would fight over, and the kernel takes it back when its owner dies: unlike a lock
/// file it cannot be left behind, and agents in two containers with the host's network see each other.</summary>
internal sealed class InstanceSocket : IAsyncDisposable
{
    private const string Name = "\0edgemesh-agent";
    private static readonly TimeSpan AnswerDeadline = TimeSpan.FromSeconds(2);

    private readonly Socket _socket;
    private readonly CancellationTokenSource _stop = new();
    private readonly Task _answering;

    private InstanceSocket(Socket socket, string identity)
    {
        _socket = socket;
        _answering = AnswerAsync(identity);
    }

    /// <param name="identity">What a second agent is told, for its message: process id and version.</param>
    /// <returns>The claim, or who holds it.</returns>
    public static async Task<(InstanceSocket? Claim, string? Holder)> ClaimAsync(string identity, CancellationToken cancellationToken)
    {
        var socket = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        try
        {
            socket.Bind(new UnixDomainSocketEndPoint(Name));
            socket.Listen(4);
            return (new InstanceSocket(socket, identity), null);
        }
        catch (SocketException taken) when (taken.SocketErrorCode == SocketError.AddressAlreadyInUse)
        {
            socket.Dispose();
            return (null, await AskHolderAsync(cancellationToken));
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
        await _answering;
        _stop.Dispose();
    }

    private static async Task<string> AskHolderAsync(CancellationToken cancellationToken)
    {
        const string silent = "a process that does not answer";
        using var deadline = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        deadline.CancelAfter(AnswerDeadline);
        using var socket = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        try
        {
            await socket.ConnectAsync(new UnixDomainSocketEndPoint(Name), deadline.Token);
            var answer = new byte[256];
            var length = await socket.ReceiveAsync(answer, deadline.Token);
            return length > 0 ? Encoding.UTF8.GetString(answer, 0, length) : silent;
        }
        catch (Exception fault) when (fault is SocketException or OperationCanceledException && !cancellationToken.IsCancellationRequested)
        {
            return silent;
        }
    }

    private async Task AnswerAsync(string identity)
    {
        var answer = Encoding.UTF8.GetBytes(identity);
        while (!_stop.IsCancellationRequested)
        {
            try
            {
                using var asker = await _socket.AcceptAsync(_stop.Token);
                await asker.SendAsync(answer, _stop.Token);
            }
            catch (OperationCanceledException)
            {
                return;
            }
            catch (SocketException)
            {
                // The asker went away; the next one may stay.
            }
            catch (ObjectDisposedException)
            {
                return;
            }
        }
    }
}
