using System.Buffers.Binary;
using System.Net;
using System.Net.Sockets;
using System.Numerics;
using EdgeMesh.Testing.Lab;
using Xunit;

namespace EdgeMesh.HostTests.Hosts;

/// <summary>SCTP is translated by the kernel or not at all. A kernel without SCTP sockets translates it all the same: what is
/// sent and seen here are its packets.</summary>
public sealed class SctpTests
{
    private const int Port = 9899;

    [Theory]
    [InlineData(KubeProxyRules.IptablesNft)]
    [InlineData(KubeProxyRules.IptablesLegacy)]
    [InlineData(KubeProxyRules.Nftables)]
    public async Task AnAssociationBeginsAtAnEndpoint(KubeProxyRules kubeProxy)
    {
        await using var lab = await NamespaceLab.CreateAsync(new LabOptions { KubeProxy = kubeProxy, Host = LabHost.Bridge });
        lab.Manifests.Write(new ManifestService
        {
            Name = "sctp",
            ClusterIPs = ["10.96.31.1"],
            Ports = [new ManifestPort("sctp", 9, Port, "SCTP")],
            Endpoints = ["10.244.0.12"],
        });
        await lab.StartAgentAsync();
        (await lab.RunWithInputAsync(
            "b", $"table ip seen {{ chain in {{ type filter hook input priority 0; ip saddr {LabAddresses.Client} sctp dport {Port} counter; }}\n}}\n", "nft", "-f", "-")).Succeeded();
        using var client = lab.Client.Run(() => new Socket(AddressFamily.InterNetwork, SocketType.Raw, ProtocolType.Raw));

        await client.SendToAsync(Packet(LabAddresses.Client, "10.96.31.1"), SocketFlags.None, IPEndPoint.Parse("10.96.31.1:0"));

        await Eventually.SeesAsync(
            () => lab.RunAsync("b", "nft", "list", "table", "ip", "seen"),
            listed => listed.Output.Contains("counter packets 1", StringComparison.Ordinal),
            TimeSpan.FromSeconds(10),
            "the endpoint sees the client itself, at its own port");
    }

    /// <summary>The kernel fills in what is zero here, the checksum too.</summary>
    private static byte[] Packet(string from, string to)
    {
        const int sctp = 132;
        byte[] header = [0x45, 0, 0, 0, 0, 0, 0, 0, 64, sctp, 0, 0, .. IPAddress.Parse(from).GetAddressBytes(), .. IPAddress.Parse(to).GetAddressBytes()];
        return [.. header, .. Init(from: 40_000, to: 9)];
    }

    /// <summary>A common header and an INIT chunk (RFC 9260, 3.1 and 3.3.2).</summary>
    private static byte[] Init(ushort from, ushort to)
    {
        var packet = new byte[32];
        BinaryPrimitives.WriteUInt16BigEndian(packet, from);
        BinaryPrimitives.WriteUInt16BigEndian(packet.AsSpan(2), to);
        packet[12] = 1;
        BinaryPrimitives.WriteUInt16BigEndian(packet.AsSpan(14), 20);
        BinaryPrimitives.WriteUInt32BigEndian(packet.AsSpan(16), 0x12345678);
        BinaryPrimitives.WriteUInt32BigEndian(packet.AsSpan(20), 65_536);
        BinaryPrimitives.WriteUInt16BigEndian(packet.AsSpan(24), 1);
        BinaryPrimitives.WriteUInt16BigEndian(packet.AsSpan(26), 1);
        BinaryPrimitives.WriteUInt32BigEndian(packet.AsSpan(28), 1);
        BinaryPrimitives.WriteUInt32LittleEndian(packet.AsSpan(8), Checksum(packet));
        return packet;
    }

    private static uint Checksum(ReadOnlySpan<byte> packet)
    {
        var crc = uint.MaxValue;
        for (var i = 0; i < packet.Length; i++)
            crc = BitOperations.Crc32C(crc, i is >= 8 and < 12 ? (byte)0 : packet[i]);
        return ~crc;
    }
}
