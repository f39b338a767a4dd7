using System.Net;
using System.Net.Sockets;
using Microsoft.AspNetCore.Http;

namespace EdgeMesh.Agent.Admin;

/// <summary>Under which names the admin address may be asked. A web page whose name its owner points at 127.0.0.1 makes the
/// browser ask here; its name in the Host header gives it away, and that is the only thing that does.</summary>
internal sealed class AdminHosts(IPAddress configured, string nodeName)
{
    /// <param name="host">As it came; null and empty where a client of HTTP/1.0 says none, which no browser is.</param>
    /// <param name="local">The address of this machine that the connection came to.</param>
    public bool Allows(string? host, IPAddress? local)
    {
        if (string.IsNullOrEmpty(host))
            return true;
        if (!IsWellFormed(host))
            return false;
        var name = new HostString(host).Host.TrimEnd('.');
        if (IPAddress.TryParse(name.Trim('[', ']'), out var address))
        {
            // Shorthand like 127.1 is read as an address, and is one.
            return IPAddress.IsLoopback(address) || Same(address, configured) || Same(address, local);
        }

        return name.Equals("localhost", StringComparison.OrdinalIgnoreCase) || name.Equals(nodeName, StringComparison.OrdinalIgnoreCase);
    }

    private static bool IsWellFormed(string host)
    {
        var text = host.AsSpan();
        if (text.Length > 255)
            return false;
        var end = text[0] == '[' ? text.IndexOf(']') + 1 : text.IndexOf(':') is >= 0 and var colon ? colon : text.Length;
        return end > 0 && (end == text.Length || (text[end] == ':' && text.Length - end is > 1 and <= 6 && !text[(end + 1)..].ContainsAnyExceptInRange('0', '9')));
    }

    private static bool Same(IPAddress one, IPAddress? other) => other is not null && Plain(one).Equals(Plain(other));

    private static IPAddress Plain(IPAddress address) =>
        address.AddressFamily == AddressFamily.InterNetworkV6 && address.IsIPv4MappedToIPv6 ? address.MapToIPv4() : address;
}
