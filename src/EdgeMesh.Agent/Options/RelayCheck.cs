using System.Net;
using System.Net.Sockets;
using EdgeMesh.Agent.Hosting.Tunnel;
using EdgeMesh.Kubernetes.Yaml;
using EdgeMesh.LibP2P.Addresses;
using EdgeMesh.Linux;
using EdgeMesh.Net;

namespace EdgeMesh.Agent.Options;

/// <summary>Tells what of a relay entry could never work, while a person still looks at the file: at run time it would only be a
/// relay that nobody reaches.</summary>
internal static class RelayCheck
{
    private const string FourNumbers = "write four numbers from 0 to 255 without a zero in front, like 192.0.2.1";
    private const string Reachable = "write an address that other nodes reach this relay at";
    private const string OneALine = "write one address on each line, each with '- ' before it";

    /// <returns>True: a null or a name that no node has is told as a doubt, never as a fault of the value.</returns>
    public static bool Name(YamlValue node, FaultSink doubt, ref string name)
    {
        if (node is YamlScalar { IsNull: true } || name.Length == 0)
        {
            name = "";
            doubt(node.Mark, "nodeName is empty", "write the node's name in Kubernetes, or remove the whole entry");
        }
        else if (KubernetesNames.IsSubdomain(name.ToLowerInvariant()) && name.Any(char.IsAsciiLetterUpper))
        {
            doubt(node.Mark, $"nodeName {node.Noun} has capitals, and no node of Kubernetes has", $"write {name.ToLowerInvariant()}, as 'kubectl get nodes' shows it");
        }
        else if (!KubernetesNames.IsSubdomain(name))
        {
            doubt(node.Mark, $"nodeName {node.Noun} cannot be the name of a node", "write it as 'kubectl get nodes' shows it: small letters, digits, '-' and '.'");
        }

        return true;
    }

    public static void Address(YamlScalar node, FaultSink doubt)
    {
        var (what, remedy) = FaultOf(node.IsNull ? "" : node.Text);
        if (what.Length > 0)
            doubt(node.Mark, $"advertiseAddress {(node.IsNull || node.Text.Length == 0 ? "" : $"{node.Noun} ")}{what}", remedy);
    }

    private static (string What, string Remedy) FaultOf(string text)
    {
        if (text.Length == 0)
            return ("is empty", "write an IP address or a DNS name, or remove the line");
        if (text.AsSpan().ContainsAny(",;") || text.Trim().AsSpan().ContainsAny(" \t\r\n"))
            return ("holds several addresses, or blanks between its parts", OneALine);
        if (text.Trim().Length != text.Length)
            return ("begins or ends with a blank", $"write {text.Trim()}");
        if (text.Contains("://", StringComparison.Ordinal))
            return ("is a URL", Uri.TryCreate(text, UriKind.Absolute, out var url) && url.Host.Length > 0 ? $"write the host alone: {url.Host}" : "write the host alone");
        if (text[0] == '/')
            return OfMultiaddr(text);
        if (RelayAddresses.WithPort(text) is { } place)
            return OfIp(place.Address);
        // IPAddress reads an address with brackets and a port that is none, and forgets the port.
        if (text[0] == '[' && text.IndexOf("]:", StringComparison.Ordinal) is > 0 and var end)
            return ("has a port that is none", PortRemedy(text[1..end]));
        if (IPAddress.TryParse(text, out var address) && (address.AddressFamily == AddressFamily.InterNetworkV6 || text.Count(c => c == '.') == 3))
        {
            if (text[0] == '[')
                return ("has brackets around it", $"write {text.Trim('[', ']')}");
            // At run time it would be looked up as a name.
            return InetAddress.TryParse(text, out _) ? OfIp(address)
                : address.AddressFamily == AddressFamily.InterNetworkV6 ? ("names a device, which other nodes call otherwise", Reachable)
                : ("is no IP address", FourNumbers);
        }

        if (text.Contains('/', StringComparison.Ordinal))
            return ("is neither an address nor a name", "write the address alone, without a '/'");
        if (text.LastIndexOf(':') is > 0 and var colon && text[(colon + 1)..].All(char.IsAsciiDigit))
            return InetAddress.TryParse(text[..colon], out _) ? ("has a port that is none", PortRemedy(text[..colon]))
                : IPAddress.TryParse(text[..colon], out _) ? ("is no IP address", FourNumbers)
                : ("is a name with a port", PortRemedy(text[..colon]));
        if (text.All(c => char.IsAsciiDigit(c) || c == '.'))
            return ("is no IP address", FourNumbers);
        return KubernetesNames.IsSubdomain(text.TrimEnd('.').ToLowerInvariant())
            ? ("", "")
            : ("is neither an IP address nor a DNS name nor a multiaddr", "write it like 192.0.2.1, 2001:db8::1 or relay.example.org");
    }

    private static string PortRemedy(string host) =>
        $"write {host}: the port is modules.edgeTunnel.listenPort, the same on all nodes; another one goes with an address, like 192.0.2.1:20006";

    private static (string What, string Remedy) OfMultiaddr(string text) =>
        Multiaddr.TryParse(text, out var multiaddr) && multiaddr.TryGetTcpEndPoint(out var place)
            ? OfIp(place.Address)
            : ("is not a multiaddr with ip4 or ip6 and tcp", "write it like /ip4/192.0.2.1/tcp/20006, or the address alone");

    private static (string What, string Remedy) OfIp(IPAddress address)
    {
        if (address.Equals(IPAddress.Any) || address.Equals(IPAddress.IPv6Any))
            return ("is no address of any node", Reachable);
        if (IPAddress.IsLoopback(address))
            return ("leads every node to itself", Reachable);
        if (address.IsIPv6LinkLocal)
            return ("means another place on each device", Reachable);
        return address.IsIPv6Multicast || address.Equals(IPAddress.Broadcast) || (address.AddressFamily == AddressFamily.InterNetwork && address.GetAddressBytes()[0] is >= 224 and < 240)
            ? ("is no address of a single node", Reachable)
            : ("", "");
    }
}
