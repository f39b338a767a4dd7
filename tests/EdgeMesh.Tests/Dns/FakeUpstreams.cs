using System.Net;
using EdgeMesh.Dns.Forwarding;
using EdgeMesh.Dns.Messages;
using Xunit;

namespace EdgeMesh.Tests.Dns;

/// <summary>Sockets to upstreams that a test answers by hand.</summary>
internal sealed class FakeUpstreams : IUpstreamSockets
{
    internal static UpstreamServer One { get; } = new(new IPEndPoint(IPAddress.Parse("192.0.2.1"), 53));

    internal static UpstreamServer Two { get; } = new(new IPEndPoint(IPAddress.Parse("192.0.2.2"), 53));

    internal List<(Exchange Exchange, byte[] Message)> Open { get; } = [];

    /// <summary>What was ever sent, like <c>udp 192.0.2.1</c>.</summary>
    internal List<string> Sent { get; } = [];

    internal HashSet<UpstreamServer> Unreachable { get; } = [];

    public bool TryOpen(Exchange exchange, ReadOnlySpan<byte> message)
    {
        Sent.Add($"{exchange.Path.ToString().ToLowerInvariant()} {exchange.Upstream.Server.Address.Address}");
        if (Unreachable.Contains(exchange.Upstream.Server))
            return false;
        Open.Add((exchange, message.ToArray()));
        return true;
    }

    public void Close(Exchange exchange) => Assert.Equal(1, Open.RemoveAll(o => ReferenceEquals(o.Exchange, exchange)));

    internal (Exchange Exchange, byte[] Message) To(UpstreamServer server) => Open.Last(o => o.Exchange.Upstream.Server == server);

    internal static byte[] Answer(byte[] query, params ReadOnlySpan<string> records) => DnsText.Reply(query, ResponseCode.NoError, records);
}
