using System.Collections.Concurrent;
using System.Net;
using System.Net.Sockets;
using EdgeMesh.Linux.Datagrams;
using EdgeMesh.Tunnel;
using Microsoft.Win32.SafeHandles;

namespace EdgeMesh.Tests.Forwarding;

/// <summary>A mesh in one process: a node takes a connection where <see cref="Refuses"/> says nothing, and its endpoint is
/// dialled at once. Datagrams go to a socket pair whose other end sends back what it gets.</summary>
internal sealed class FakeTunnel : ITunnelDialer
{
    /// <summary>Node by node why it does not take connections.</summary>
    public ConcurrentDictionary<string, TunnelRefusal> Refuses { get; } = new();

    /// <summary>Nodes to which no session stands.</summary>
    public ConcurrentDictionary<string, bool> Unreachable { get; } = new();

    public ConcurrentQueue<TunnelledClient> Carried { get; } = new();

    /// <summary>Nothing is decided on connections before this.</summary>
    public Task Decides { get; set; } = Task.CompletedTask;

    public bool CanReach(string node) => !Unreachable.ContainsKey(node);

    public void Carry(TunnelledClient client)
    {
        Carried.Enqueue(client);
        _ = CarryAsync(client);
    }

    private readonly ConcurrentQueue<Socket> _flowEnds = new();

    /// <summary>Flows that were opened.</summary>
    public ConcurrentQueue<TunnelDestination> Flows { get; } = new();

    public int TryOpenDatagrams(TunnelDestination destination)
    {
        if (Refuses.ContainsKey(destination.Node))
            return -111;
        if (DatagramPair.TryOpen(out var theirs, out var ours) is var result and < 0)
            return result;
        Flows.Enqueue(destination);
        _ = EchoAsync(ours);
        return theirs;
    }

    /// <summary>Lets go of every flow, as a tunnel does whose session is lost.</summary>
    public void EndFlows()
    {
        while (_flowEnds.TryDequeue(out var socket))
            socket.Dispose();
    }

    private async Task EchoAsync(int descriptor)
    {
        using var socket = new Socket(new SafeSocketHandle(descriptor, ownsHandle: true));
        _flowEnds.Enqueue(socket);
        var buffer = new byte[65_536];
        try
        {
            while (true)
                await socket.SendAsync(buffer.AsMemory(0, await socket.ReceiveAsync(buffer)));
        }
        catch (SocketException)
        {
            // The flow has ended.
        }
    }

    private async Task CarryAsync(TunnelledClient client)
    {
        await Task.Yield();
        await Decides;
        var destination = client.Destination;
        if (Refuses.TryGetValue(destination.Node, out var refusal))
        {
            client.Refused(refusal);
            return;
        }

        using var near = new Socket(new SafeSocketHandle(client.Descriptor, ownsHandle: true));
        using var far = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
        await far.ConnectAsync(destination.Endpoint.ToIPEndPoint());
        await far.SendAsync(client.FirstBytes);
        var gaveWay = false;
        client.OnGivingWay(() =>
        {
            gaveWay = true;
            near.Close(timeout: 0);
            far.Close(timeout: 0);
        });
        var there = PumpAsync(near, far, client);
        var back = PumpAsync(far, near, client);
        var (toEndpoint, toClient) = (client.FirstBytes.Length + await there, await back);
        near.Close();
        client.Finished(new TunnelOutcome(destination, gaveWay ? TunnelEnd.GaveWay : TunnelEnd.Completed, toEndpoint, toClient));
    }

    private static async Task<long> PumpAsync(Socket from, Socket to, TunnelledClient client)
    {
        var buffer = new byte[16 * 1024];
        long moved = 0;
        try
        {
            for (int read; (read = await from.ReceiveAsync(buffer)) > 0; moved += read)
            {
                await to.SendAsync(buffer.AsMemory(0, read));
                client.LastActive = TimeProvider.System.GetTimestamp() / (TimeProvider.System.TimestampFrequency / 1_000);
            }

            to.Shutdown(SocketShutdown.Send);
        }
        catch (Exception e) when (e is SocketException or ObjectDisposedException)
        {
            // It gave way.
        }

        return moved;
    }
}
