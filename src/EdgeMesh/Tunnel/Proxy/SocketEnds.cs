using System.Net.Sockets;
using EdgeMesh.Linux;
using EdgeMesh.Linux.Sockets;
using EdgeMesh.Net;

namespace EdgeMesh.Tunnel.Proxy;

/// <summary>The sockets at the two ends of the tunnel.</summary>
internal static class SocketEnds
{
    /// <summary>The socket of a descriptor, which it owns from then on.</summary>
    internal static Socket Own(int descriptor) => new(new SafeSocketHandle(descriptor, ownsHandle: true));

    /// <summary>Closes with a reset.</summary>
    internal static void Abort(this Socket socket)
    {
        try
        {
            socket.LingerState = new LingerOption(enable: true, seconds: 0);
        }
        catch (Exception e) when (e is SocketException or ObjectDisposedException)
        {
            // It is closed already, or was reset by the other side, or knows no such option: closing is all that is left.
        }

        socket.Dispose();
    }

    /// <summary>A socket that talks to an endpoint on this node.</summary>
    /// <exception cref="IOException">It did not answer in time, or refused; or the mark could not be set.</exception>
    internal static async Task<Socket> DialAsync(InetEndpoint endpoint, ProtocolType protocol, uint mark, TimeSpan timeout, TimeProvider time, CancellationToken cancellationToken)
    {
        var address = endpoint.Address.ToIPAddress();
        var socket = new Socket(address.AddressFamily, protocol == ProtocolType.Udp ? SocketType.Dgram : SocketType.Stream, protocol);
        using var limit = new CancellationTokenSource(timeout, time);
        using var either = CancellationTokenSource.CreateLinkedTokenSource(limit.Token, cancellationToken);
        try
        {
            Mark(socket, mark);
            if (protocol == ProtocolType.Tcp)
            {
                socket.NoDelay = true;
                TcpSocket.WatchPeer((int)socket.Handle, new PeerWatch());
            }

            await socket.ConnectAsync(address, endpoint.Port, either.Token);
            return socket;
        }
        catch (Exception e) when (e is SocketException or OperationCanceledException)
        {
            socket.Dispose();
            cancellationToken.ThrowIfCancellationRequested();
            throw new IOException(e is SocketException refused ? refused.Message : $"no answer within {timeout.TotalSeconds} s", e);
        }
        catch
        {
            socket.Dispose();
            throw;
        }
    }

    /// <exception cref="IOException">The mark cannot be set: our own rules would catch what the socket sends.</exception>
    internal static void Mark(Socket socket, uint mark)
    {
        if (mark != 0 && !SocketMark.TrySet(socket, mark))
            throw new IOException("a socket of the tunnel could not be marked (SO_MARK): the agent needs the capability CAP_NET_ADMIN");
    }
}
