using System.Buffers.Binary;
using System.Net;
using System.Net.Sockets;
using EdgeMesh.Testing.Lab;
using Xunit;

namespace EdgeMesh.HostTests.Hosts;

/// <summary>A segment that comes late is outside of every window that conntrack knows, and is not translated back. Passed on,
/// it would come from an address that the client has never spoken to, and be answered with a reset.</summary>
public sealed class InvalidPacketTests
{
    private const int Port = 8085;

    [Theory]
    [InlineData(RulesIn.IptablesNft)]
    [InlineData(RulesIn.IptablesLegacy)]
    [InlineData(RulesIn.Nftables)]
    public async Task ALateSegmentDoesNotEndTheConnectionThatItBelongsTo(RulesIn rules)
    {
        await using var node = await HybridNode.StartAsync(new NodeSetup(KubeProxyRules.None, rules, Through.Kernel), new ManifestService
        {
            Name = "far",
            ClusterIPs = ["10.96.5.1"],
            Ports = [new ManifestPort("tcp", 80, Port)],
            Endpoints = [LabAddresses.RemotePod],
        });
        using var listener = node.Lab["outside"].NewSocket(AddressFamily.InterNetwork, SocketType.Stream);
        listener.Bind(IPEndPoint.Parse($"{LabAddresses.RemotePod}:{Port}"));
        listener.Listen();
        using var client = await node.Lab.ConnectAsync("client", "10.96.5.1:80");
        using var server = await listener.AcceptAsync();
        await SpeakAsync(client, server);

        SendLate(node.Lab["outside"], server);

        // What a reset would end has ended before the third answer: all packets of the wire come in the order in which they were sent.
        for (var i = 0; i < 3; i++)
            await SpeakAsync(client, server);
    }

    private static async Task SpeakAsync(Socket client, Socket server)
    {
        using var timeout = new CancellationTokenSource(TimeSpan.FromSeconds(10));
        var said = new byte[16];
        await client.SendAsync("question"u8.ToArray(), timeout.Token);
        Assert.NotEqual(0, await server.ReceiveAsync(said, timeout.Token));
        await server.SendAsync("answer"u8.ToArray(), timeout.Token);
        Assert.NotEqual(0, await client.ReceiveAsync(said, timeout.Token));
    }

    /// <summary>A segment as the server would have sent it, three million bytes beyond what the client has room for.</summary>
    private static void SendLate(NetworkNamespace outside, Socket server)
    {
        var (from, to) = ((IPEndPoint)server.LocalEndPoint!, (IPEndPoint)server.RemoteEndPoint!);
        var (sent, received) = Sequences(server);
        var segment = new byte[24];
        BinaryPrimitives.WriteUInt16BigEndian(segment, (ushort)from.Port);
        BinaryPrimitives.WriteUInt16BigEndian(segment.AsSpan(2), (ushort)to.Port);
        BinaryPrimitives.WriteUInt32BigEndian(segment.AsSpan(4), unchecked(sent + 3_000_000));
        BinaryPrimitives.WriteUInt32BigEndian(segment.AsSpan(8), received);
        segment[12] = 5 << 4;
        segment[13] = 0x18;
        BinaryPrimitives.WriteUInt16BigEndian(segment.AsSpan(14), 512);
        "late"u8.CopyTo(segment.AsSpan(20));
        byte[] pseudo = [.. from.Address.GetAddressBytes(), .. to.Address.GetAddressBytes(), 0, (byte)ProtocolType.Tcp, 0, (byte)segment.Length];
        BinaryPrimitives.WriteUInt16BigEndian(segment.AsSpan(16), Checksum([.. pseudo, .. segment]));
        using var raw = outside.Run(() => new Socket(AddressFamily.InterNetwork, SocketType.Raw, ProtocolType.Tcp));
        raw.Bind(new IPEndPoint(from.Address, 0));
        raw.SendTo(segment, new IPEndPoint(to.Address, 0));
    }

    /// <summary>Of the next byte to be sent and of the next to come (TCP_REPAIR of tcp(7), as CRIU uses it).</summary>
    private static (uint Sent, uint Received) Sequences(Socket socket)
    {
        const int Tcp = 6, Repair = 19, RepairQueue = 20, QueueSequence = 21, ReceiveQueue = 1, SendQueue = 2, OffWithoutProbe = -1;
        void Set(int option, int value) => socket.SetRawSocketOption(Tcp, option, BitConverter.GetBytes(value));
        uint Sequence(int queue)
        {
            Set(RepairQueue, queue);
            var value = new byte[4];
            socket.GetRawSocketOption(Tcp, QueueSequence, value);
            return BitConverter.ToUInt32(value);
        }

        Set(Repair, 1);
        var sequences = (Sequence(SendQueue), Sequence(ReceiveQueue));
        Set(Repair, OffWithoutProbe);
        return sequences;
    }

    private static ushort Checksum(ReadOnlySpan<byte> bytes)
    {
        uint sum = 0;
        for (var i = 0; i < bytes.Length; i += 2)
            sum += BinaryPrimitives.ReadUInt16BigEndian(bytes[i..]);
        sum = (sum & 0xFFFF) + (sum >> 16);
        return (ushort)~(sum + (sum >> 16));
    }
}
