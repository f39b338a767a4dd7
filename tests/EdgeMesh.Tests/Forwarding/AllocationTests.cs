using System.Net.Sockets;
using EdgeMesh.Forwarding;
using EdgeMesh.Linux;
using EdgeMesh.Net;
using Xunit;
using static EdgeMesh.Tests.Forwarding.LoopbackForwarder;

namespace EdgeMesh.Tests.Forwarding;

/// <summary>What the collector has to do with a connection. The loop's thread is asked when it asks where a connection was
/// going, so each figure is what it allocated between two connections.</summary>
public sealed class AllocationTests(ITestOutputHelper output)
{
    private readonly List<long> _allocated = [];

    private static CancellationToken Stop => TestContext.Current.CancellationToken;

    [Fact]
    public async Task AConnectionCostsTheCollectorNearlyNothing()
    {
        const int Connections = 1_000;
        using var backend = StartBackend();
        await using var forwarder = Start(backend);
        var serving = ServeAsync(backend);
        // The objects of the first ones go to the pools.
        for (var i = 0; i < Connections + 100; i++)
            await ConverseAsync(forwarder, new byte[1]);

        var bytes = (_allocated[^1] - _allocated[^(Connections + 1)]) / (double)Connections;
        output.WriteLine($"{bytes:F1} bytes allocated per connection");
        Assert.InRange(bytes, 0, 64);
        backend.Stop();
        await serving;
    }

    [Theory]
    [InlineData(1_000, 2_000)]
    [InlineData(8_000_000, 8)]
    public async Task BytesCostTheCollectorNothing(int size, int messages)
    {
        using var backend = StartBackend();
        await using var forwarder = Start(backend);
        var serving = ServeAsync(backend);
        await ConverseAsync(forwarder, new byte[size], new byte[size]);
        await ConverseAsync(forwarder, [.. Enumerable.Repeat(new byte[size], messages)]);
        await ConverseAsync(forwarder, new byte[1]);

        var bytes = _allocated[^1] - _allocated[^2];
        output.WriteLine($"{bytes} bytes allocated while {2L * size * messages:N0} went through");
        Assert.InRange(bytes, 0, 64 * 1024);
        backend.Stop();
        await serving;
    }

    private LoopbackForwarder Start(TcpListener backend) => new([backend.LocalEndpoint], options => options with
    {
        LoopCount = 1,
        OriginalDestination = (int _, bool _, out InetEndpoint destination) =>
        {
            _allocated.Add(GC.GetAllocatedBytesForCurrentThread());
            destination = Service;
            return 0;
        },
    });

    /// <summary>Sends each message once the one before has come back.</summary>
    private static async Task ConverseAsync(LoopbackForwarder forwarder, params byte[][] messages)
    {
        using var client = await forwarder.ConnectAsync();
        foreach (var message in messages)
        {
            var sending = TcpForwarderTests.SendAllAsync(client, message);
            await TcpForwarderTests.ReceiveAsync(client, message.Length);
            await sending;
        }
    }

    private static async Task ServeAsync(TcpListener backend)
    {
        try
        {
            while (true)
                _ = EchoAsync(await backend.AcceptSocketAsync(Stop));
        }
        catch (Exception e) when (e is SocketException or ObjectDisposedException or InvalidOperationException)
        {
            // The backend has been stopped.
        }
    }

    private static async Task EchoAsync(Socket socket)
    {
        using (socket)
        {
            var buffer = new byte[64 * 1024];
            for (int count; (count = await socket.ReceiveAsync(buffer, Stop)) > 0;)
                await TcpForwarderTests.SendAllAsync(socket, buffer.AsMemory(0, count));
        }
    }
}
