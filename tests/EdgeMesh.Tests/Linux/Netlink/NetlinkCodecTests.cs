using EdgeMesh.Linux;
using EdgeMesh.Linux.Netlink;
using EdgeMesh.Net;
using Xunit;

namespace EdgeMesh.Tests.Linux.Netlink;

public sealed class NetlinkCodecTests
{
    private static readonly ConntrackFlow _flow = new()
    {
        OriginalSource = InetEndpoint.Parse("10.244.0.100:40000"),
        OriginalDestination = InetEndpoint.Parse("10.96.0.10:53"),
        ReplySource = InetEndpoint.Parse("169.254.96.16:20007"),
        ReplyDestination = InetEndpoint.Parse("10.244.0.100:40001"),
        Protocol = TransportProtocol.Udp,
        Zone = 7,
        Id = 0xDEADBEEF,
    };

    [Fact]
    public void AnEntryIsReadBackAsItWasWritten()
    {
        var payload = Entry(_flow);

        Assert.True(ConntrackMessages.TryParse(payload, out var read));
        Assert.Equal(_flow, read);
    }

    [Fact]
    public void AnIPv6EntryIsReadBackAsItWasWritten()
    {
        var flow = _flow with
        {
            OriginalSource = InetEndpoint.Parse("[fd00::1]:1"),
            OriginalDestination = InetEndpoint.Parse("[fd00::2]:2"),
            ReplySource = InetEndpoint.Parse("[fd0e:6d65:7368::10]:20007"),
            ReplyDestination = InetEndpoint.Parse("[fd00::1]:3"),
        };

        Assert.True(ConntrackMessages.TryParse(Entry(flow), out var read));
        Assert.Equal(flow, read);
    }

    [Fact]
    public void AnEntryCutAtAnyByteIsRefusedOrReadWithoutHarm()
    {
        var payload = Entry(_flow);
        for (var length = 0; length < payload.Length; length++)
        {
            if (ConntrackMessages.TryParse(payload.AsSpan(0, length), out var read))
                Assert.Equal(_flow.OriginalDestination.Address, read.OriginalDestination.Address);
        }

        Assert.False(ConntrackMessages.TryParse(payload.AsSpan(0, 40), out _));
    }

    [Fact]
    public void RandomBytesNeverThrow()
    {
        var random = new Random(7);
        var parser = new RuleChangeParser(new RuleWatch());
        var buffer = new byte[256];
        for (var i = 0; i < 20_000; i++)
        {
            random.NextBytes(buffer);
            // Small lengths make the walkers go deeper than random ones would.
            for (var at = 0; at < buffer.Length; at += 4)
                buffer[at + 1] = 0;
            var part = buffer.AsSpan(0, random.Next(buffer.Length));
            _ = ConntrackMessages.TryParse(part, out _);
            RouteMessages.ParseLink(part);
            RouteMessages.ParseAddress(part);
            parser.Parse(0x0A00 | random.Next(32), part);
            var messages = new NetlinkMessages(part);
            var walked = 0;
            while (messages.MoveNext())
                walked++;
            Assert.InRange(walked, 0, 16);
        }
    }

    [Fact]
    public void MessagesInOneBufferAreWalkedInOrder()
    {
        var writer = new NetlinkWriter(new byte[256]);
        writer.BeginMessage(20, 1, 5);
        writer.AttributeText(1, "abc");
        writer.EndMessage();
        writer.BeginMessage(21, 2, 6);
        writer.AttributeByte(2, 9);
        writer.EndMessage();

        var messages = new NetlinkMessages(writer.Written);
        Assert.True(messages.MoveNext());
        Assert.Equal((20, 1, 5u), (messages.Type, messages.Flags, messages.Sequence));
        var attributes = new NetlinkAttributes(messages.Payload);
        Assert.True(attributes.MoveNext());
        Assert.Equal("abc", attributes.Text);
        Assert.False(attributes.MoveNext());
        Assert.True(messages.MoveNext());
        Assert.Equal((21, 2, 6u), (messages.Type, messages.Flags, messages.Sequence));
        Assert.False(messages.MoveNext());
    }

    private static byte[] Entry(ConntrackFlow flow)
    {
        var writer = new NetlinkWriter(new byte[512]);
        writer.NetfilterHeader(flow.OriginalSource.Address.IsIPv6 ? 10 : 2);
        Tuple(ref writer, 1, flow.OriginalSource, flow.OriginalDestination);
        Tuple(ref writer, 2, flow.ReplySource, flow.ReplyDestination);
        writer.Attribute(12, [0xDE, 0xAD, 0xBE, 0xEF]);
        writer.AttributeNetwork16(18, flow.Zone);
        return writer.Written.ToArray();
    }

    private static void Tuple(ref NetlinkWriter writer, int type, InetEndpoint source, InetEndpoint destination)
    {
        var ipv6 = source.Address.IsIPv6;
        var tuple = writer.BeginNest(type);
        var addresses = writer.BeginNest(1);
        writer.AttributeAddress(ipv6 ? 3 : 1, source.Address);
        writer.AttributeAddress(ipv6 ? 4 : 2, destination.Address);
        writer.EndNest(addresses);
        var protocol = writer.BeginNest(2);
        writer.AttributeByte(1, 17);
        writer.AttributeNetwork16(2, source.Port);
        writer.AttributeNetwork16(3, destination.Port);
        writer.EndNest(protocol);
        writer.EndNest(tuple);
    }
}
