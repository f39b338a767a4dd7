using System.Collections.Immutable;
using System.Net;
using System.Net.Sockets;
using EdgeMesh.Linux;
using EdgeMesh.Net;
using EdgeMesh.LibP2P.Addresses;
using ConfiguredRelay = EdgeMesh.Agent.Options.RelayNode;
using MeshRelay = EdgeMesh.Tunnel.RelayNode;

namespace EdgeMesh.Agent.Hosting.Tunnel;

/// <summary>Turns <c>relayNodes</c> of the configuration into addresses that can be dialled.</summary>
internal static class RelayAddresses
{
    private static readonly TimeSpan ResolveDeadline = TimeSpan.FromSeconds(5);

    /// <summary>Whether an answer of DNS may change the result later.</summary>
    public static bool NeedDns(ImmutableArray<ConfiguredRelay> relays) =>
        relays.Any(relay => relay.AdvertiseAddress.Any(text => Literal(text, 1) is null));

    /// <param name="port">Of addresses that name none.</param>
    /// <param name="resolve">Looks up a DNS name.</param>
    /// <param name="unusable">Told each text that came to no address, with the reason.</param>
    public static async Task<ImmutableArray<MeshRelay>> ResolveAsync(
        ImmutableArray<ConfiguredRelay> relays, int port, Func<string, CancellationToken, Task<IPAddress[]>> resolve,
        Action<string, string> unusable, CancellationToken cancellationToken)
    {
        var result = ImmutableArray.CreateBuilder<MeshRelay>(relays.Length);
        foreach (var relay in relays.Where(relay => relay.NodeName.Length > 0))
        {
            var addresses = ImmutableArray.CreateBuilder<InetEndpoint>();
            foreach (var text in relay.AdvertiseAddress)
                addresses.AddRange(await AddressesAsync(text, port, resolve, unusable, cancellationToken));
            result.Add(new MeshRelay(relay.NodeName, [.. addresses.Distinct()]));
        }

        return result.ToImmutable();
    }

    /// <summary>An address with its own port, as <c>192.0.2.1:4001</c> and <c>[2001:db8::1]:4001</c>. Null: the text is none.</summary>
    public static IPEndPoint? WithPort(string text) =>
        text.LastIndexOf(':') is > 0 and var colon && (text[0] == '[' ? text[colon - 1] == ']' : text.IndexOf(':', StringComparison.Ordinal) == colon)
            && InetAddress.TryParse(text[..colon].Trim('[', ']'), out _) && IPEndPoint.TryParse(text, out var place) && place.Port > 0
                ? place : null;

    /// <summary>Null: the text is a name.</summary>
    private static InetEndpoint? Literal(string text, int port)
    {
        if (WithPort(text) is { } place)
            return InetEndpoint.From(place);
        if (InetAddress.TryParse(text, out var address))
            return new InetEndpoint(address, (ushort)port);
        if (text.StartsWith('/'))
            return Multiaddr.TryParse(text, out var multiaddr) && multiaddr.TryGetTcpEndPoint(out var tcp) ? InetEndpoint.From(tcp) : null;
        return null;
    }

    private static async Task<IEnumerable<InetEndpoint>> AddressesAsync(
        string text, int port, Func<string, CancellationToken, Task<IPAddress[]>> resolve, Action<string, string> unusable, CancellationToken cancellationToken)
    {
        if (Literal(text, port) is { } literal)
            return [literal];
        if (text.StartsWith('/') || Uri.CheckHostName(text) != UriHostNameType.Dns)
        {
            unusable(text, "it is neither an IP address nor a DNS name nor a multiaddr with ip4 or ip6 and tcp");
            return [];
        }

        try
        {
            using var deadline = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
            deadline.CancelAfter(ResolveDeadline);
            return (await resolve(text, deadline.Token)).Select(address => new InetEndpoint(InetAddress.From(address), (ushort)port));
        }
        catch (Exception fault) when (fault is SocketException || (fault is OperationCanceledException && !cancellationToken.IsCancellationRequested))
        {
            unusable(text, fault is SocketException ? $"DNS: {fault.Message}" : $"DNS did not answer within {ResolveDeadline.TotalSeconds} s");
            return [];
        }
    }
}
