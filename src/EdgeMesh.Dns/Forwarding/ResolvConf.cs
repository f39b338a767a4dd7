using System.Collections.Immutable;
using System.Net;

namespace EdgeMesh.Dns.Forwarding;

/// <summary>The nameservers of a resolv.conf(5).</summary>
/// <param name="Servers">In their order; the C library asks the first three, and so do we not stop there.</param>
/// <param name="Own">Those that are this server itself: to ask them would be to ask oneself for ever.</param>
public sealed record ResolvConf(ImmutableArray<UpstreamServer> Servers, ImmutableArray<IPAddress> Own)
{
    private const int MaxServers = 16;

    /// <param name="own">Addresses at which this server listens at port 53.</param>
    public static ResolvConf Parse(string text, IReadOnlyCollection<IPAddress> own)
    {
        ArgumentNullException.ThrowIfNull(text);
        ArgumentNullException.ThrowIfNull(own);
        var servers = ImmutableArray.CreateBuilder<UpstreamServer>();
        var loops = ImmutableArray.CreateBuilder<IPAddress>();
        foreach (var line in text.AsSpan().EnumerateLines())
        {
            var rest = line.Trim();
            if (!rest.StartsWith("nameserver", StringComparison.Ordinal) || rest.Length == 10 || !char.IsWhiteSpace(rest[10]))
                continue;
            rest = rest[10..].Trim();
            var end = rest.IndexOfAny(" \t#;");
            if (end >= 0)
                rest = rest[..end];
            if (!IPAddress.TryParse(rest, out var address) || servers.Count == MaxServers)
                continue;
            if (own.Contains(address))
                loops.Add(address);
            else if (!servers.Any(s => s.Address.Address.Equals(address)))
                servers.Add(new UpstreamServer(new IPEndPoint(address, 53)));
        }

        return new ResolvConf(servers.DrainToImmutable(), loops.DrainToImmutable());
    }
}
