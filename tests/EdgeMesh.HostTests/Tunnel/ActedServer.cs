using System.Net;
using System.Net.Sockets;
using EdgeMesh.Testing.Lab;
using EdgeMesh.Testing.Lab.Mesh;

namespace EdgeMesh.HostTests.Tunnel;

/// <summary>A server in a node's pod whose side of each connection a test acts itself.</summary>
internal sealed class ActedServer : IDisposable
{
    public const int Port = 9_091;

    private readonly MeshLabNode _from;
    private readonly string _address;
    private readonly Socket _listener;
    private readonly List<Socket> _sockets = [];
    private readonly CancellationTokenSource _deadline = new(TimeSpan.FromSeconds(60));

    /// <param name="from">In whose pod the clients are.</param>
    /// <param name="address">The service's.</param>
    public ActedServer(MeshLabNode node, MeshLabNode from, string address)
    {
        (_from, _address) = (from, address);
        _listener = node.Pod.NewSocket(AddressFamily.InterNetwork, SocketType.Stream);
        _listener.SetSocketOption(SocketOptionLevel.Socket, SocketOptionName.ReuseAddress, true);
        _listener.Bind(new IPEndPoint(IPAddress.Any, Port));
        _listener.Listen();
    }

    public CancellationToken Deadline => _deadline.Token;

    public async Task<(Socket Client, Socket Server)> ConnectAsync()
    {
        var client = await _from.ConnectAsync($"{_address}:{Port}");
        _sockets.Add(client);
        var server = await _listener.AcceptAsync(Deadline);
        _sockets.Add(server);
        return (client, server);
    }

    /// <summary>How much comes, and whether a reset ends it.</summary>
    public static async Task<(int Bytes, bool IsReset)> ReadAsync(Socket socket, CancellationToken deadline)
    {
        var (bytes, buffer) = (0, new byte[64 * 1024]);
        try
        {
            for (int read; (read = await socket.ReceiveAsync(buffer, deadline)) > 0;)
                bytes += read;
            return (bytes, false);
        }
        catch (SocketException e) when (e.SocketErrorCode == SocketError.ConnectionReset)
        {
            return (bytes, true);
        }
    }

    public void Dispose()
    {
        foreach (var socket in _sockets)
            socket.Dispose();
        _listener.Dispose();
        _deadline.Dispose();
    }
}
