using System.Collections.Immutable;
using System.Globalization;
using System.Net;
using EdgeMesh.Dns.Messages;

namespace EdgeMesh.Dns.Forwarding;

/// <summary>A resolver that others' questions are sent to.</summary>
/// <param name="TlsName">The name that its certificate must be for (RFC 8310); null: asked by UDP and TCP.</param>
public sealed record UpstreamServer(IPEndPoint Address, string? TlsName = null)
{
    private const int PlainPort = 53;
    private const int TlsPort = 853;
    private const string TlsScheme = "tls://";

    /// <summary>Reads <c>IP</c>, <c>IP:PORT</c>, <c>[IPv6]:PORT</c>, <c>tls://IP#NAME</c> or <c>tls://IP:PORT#NAME</c>.</summary>
    /// <returns>Null, and in <paramref name="fault"/> what is wrong.</returns>
    public static UpstreamServer? Parse(string text, out string? fault)
    {
        ArgumentNullException.ThrowIfNull(text);
        fault = null;
        string? name = null;
        var address = text.Trim();
        var port = PlainPort;
        if (address.StartsWith(TlsScheme, StringComparison.OrdinalIgnoreCase))
        {
            address = address[TlsScheme.Length..];
            port = TlsPort;
            var hash = address.IndexOf('#', StringComparison.Ordinal);
            name = hash < 0 ? "" : address[(hash + 1)..];
            if (WireName.FromText(name) is not { Length: > 1 })
            {
                fault = $"\"{text}\" must name the server's certificate: tls://IP#NAME.";
                return null;
            }

            address = address[..hash];
        }

        if (TryEndPoint(address, port) is { } endPoint)
            return new UpstreamServer(endPoint, name);
        fault = $"\"{text}\" is no IP address, IP:PORT or tls://IP#NAME.";
        return null;
    }

    public override string ToString() => TlsName is null ? Address.ToString() : $"{TlsScheme}{Address}#{TlsName}";

    private static IPEndPoint? TryEndPoint(string text, int port)
    {
        // IPAddress reads "1" and "[::1]:53" as addresses too; an operator means four numbers, and a port.
        if (!text.StartsWith('[') && IPAddress.TryParse(text, out var alone))
            return alone.ToString() == text || text.Contains(':', StringComparison.Ordinal) ? new IPEndPoint(alone, port) : null;
        var colon = text.LastIndexOf(':');
        if (colon < 0 || !ushort.TryParse(text.AsSpan(colon + 1), NumberStyles.None, CultureInfo.InvariantCulture, out var given) || given == 0)
            return null;
        var host = text[..colon];
        if (host.StartsWith('[') && host.EndsWith(']'))
            host = host[1..^1];
        else if (host.Contains(':', StringComparison.Ordinal))
            return null;
        return IPAddress.TryParse(host, out var address) && (address.ToString() == host || host.Contains(':', StringComparison.Ordinal)) ? new IPEndPoint(address, given) : null;
    }
}

/// <summary>Who is asked for a domain and what is below it.</summary>
/// <param name="Domain">As in a message; a single zero for everything.</param>
public sealed record UpstreamRoute(ImmutableArray<byte> Domain, ImmutableArray<UpstreamServer> Servers);

/// <summary>Who is asked for what: the longest domain that a name is in decides.</summary>
public sealed record UpstreamTable(ImmutableArray<UpstreamRoute> Routes)
{
    public static UpstreamTable Empty { get; } = new([]);

    /// <summary>Whether the same are asked for the same.</summary>
    public bool IsSameAs(UpstreamTable other)
    {
        ArgumentNullException.ThrowIfNull(other);
        return Routes.Length == other.Routes.Length
            && Routes.Zip(other.Routes).All(pair => pair.First.Domain.AsSpan().SequenceEqual(pair.Second.Domain.AsSpan()) && pair.First.Servers.AsSpan().SequenceEqual(pair.Second.Servers.AsSpan()));
    }

    /// <summary>For people: <c>corp.example: 10.0.0.53:53; 192.0.2.1:53, 192.0.2.2:53</c>.</summary>
    public override string ToString() => Routes.IsEmpty ? "nobody" : string.Join("; ", Routes.Select(route =>
        (route.Domain.Length > 1 ? WireName.ToText(route.Domain.AsSpan()).TrimEnd('.') + ": " : "") + string.Join(", ", route.Servers)));

    /// <summary>One group for every name.</summary>
    public static UpstreamTable ForAll(params ReadOnlySpan<UpstreamServer> servers) => new([new UpstreamRoute([0], [.. servers])]);
}
