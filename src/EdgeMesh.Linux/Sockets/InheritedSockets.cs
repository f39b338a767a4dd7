using EdgeMesh.Linux.Datagrams;
using EdgeMesh.Net;

namespace EdgeMesh.Linux.Sockets;

/// <summary>Listening sockets that another process of this program has handed over. Both processes have the same sockets: what waits in
/// their queues waits for whichever of the two takes it, and when one of them ends, or hangs, nothing that waits is lost.</summary>
public sealed class InheritedSockets : IDisposable
{
    private readonly List<(Kind Kind, InetEndpoint Endpoint, DescriptorHandle Handle)> _left = [];

    /// <param name="descriptors">Belong to this from now on; what is no socket of these kinds is closed.</param>
    public InheritedSockets(IEnumerable<DescriptorHandle> descriptors)
    {
        ArgumentNullException.ThrowIfNull(descriptors);
        foreach (var handle in descriptors)
        {
            if (KindOf(handle.Descriptor) is { } kind && TcpSocket.TryLocalEndpoint(handle.Descriptor, out var endpoint))
                _left.Add((kind, endpoint, handle));
            else
                handle.Dispose();
        }
    }

    private enum Kind
    {
        Listener,
        Guard,
        Datagrams,
    }

    /// <summary>Those that accept TCP connections there.</summary>
    public IReadOnlyList<DescriptorHandle> TakeListeners(InetEndpoint endpoint) => Take(Kind.Listener, endpoint);

    /// <summary>Those that are bound there beside the listeners and do not listen (<see cref="PortGuard"/>).</summary>
    public IReadOnlyList<DescriptorHandle> TakeGuards(InetEndpoint endpoint) => Take(Kind.Guard, endpoint);

    /// <summary>The one that receives the datagrams of clients there; null: there is none.</summary>
    public DatagramSocket? TakeDatagrams(InetEndpoint endpoint)
    {
        DatagramSocket? taken = null;
        foreach (var handle in Take(Kind.Datagrams, endpoint))
        {
            if (taken is null)
                taken = DatagramSocket.Own(handle);
            else
                handle.Dispose();
        }

        return taken;
    }

    /// <summary>Closes, for this process alone, what nobody took.</summary>
    public void Dispose()
    {
        foreach (var (_, _, handle) in _left)
            handle.Dispose();
        _left.Clear();
    }

    private List<DescriptorHandle> Take(Kind kind, InetEndpoint endpoint)
    {
        List<DescriptorHandle> taken = [.. _left.Where(socket => socket.Kind == kind && socket.Endpoint == endpoint).Select(socket => socket.Handle)];
        _left.RemoveAll(socket => taken.Contains(socket.Handle));
        return taken;
    }

    private static Kind? KindOf(int descriptor) => SocketOption.Get(descriptor, SocketOption.SOL_SOCKET, SocketOption.SO_TYPE) switch
    {
        SocketOption.SOCK_STREAM => SocketOption.Get(descriptor, SocketOption.SOL_SOCKET, SocketOption.SO_ACCEPTCONN) > 0 ? Kind.Listener : Kind.Guard,
        SocketOption.SOCK_DGRAM => Kind.Datagrams,
        _ => null,
    };
}
