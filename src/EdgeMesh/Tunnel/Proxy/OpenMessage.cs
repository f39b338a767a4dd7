using System.Text;
using EdgeMesh.Catalog;
using EdgeMesh.Linux;
using EdgeMesh.Net;
using EdgeMesh.LibP2P;
using EdgeMesh.LibP2P.Wire;

namespace EdgeMesh.Tunnel.Proxy;

/// <summary>The request of `/edgemesh/proxy/2.0.0`; the client's bytes follow right behind it: `{1 protocol (0 TCP, 1 UDP),
/// 2 namespace, 3 service, 4 port name, 5 endpoint's ip, 6 endpoint's port, 7 client's ip, 8 client's port}`. The names and the
/// client are for logs; what is dialled is decided by the endpoint alone.</summary>
internal sealed record OpenMessage(TransportProtocol Protocol, ServicePortName Service, InetEndpoint Endpoint, InetEndpoint Client)
{
    internal const string ProtocolName = "/edgemesh/proxy/2.0.0";
    internal const int MaxLength = 1024;

    private const int MaxName = 253;

    internal static OpenMessage Of(TunnelDestination destination) =>
        new(destination.Protocol, destination.Service, destination.Endpoint, destination.Client);

    internal void Append(ByteQueue queue)
    {
        var message = ProtobufWriter.Message(this, static (open, inner) =>
        {
            var writer = new ProtobufWriter(inner);
            writer.Number(1, open.Protocol == TransportProtocol.Udp ? 1u : 0u);
            writer.Text(2, open.Service.Namespace);
            writer.Text(3, open.Service.Name);
            writer.Text(4, open.Service.Port);
            Span<byte> address = stackalloc byte[16];
            writer.Bytes(5, address[..open.Endpoint.Address.WriteBytes(address)]);
            writer.Number(6, open.Endpoint.Port);
            writer.Bytes(7, address[..open.Client.Address.WriteBytes(address)]);
            writer.Number(8, open.Client.Port);
        });
        Delimited.Append(queue, message);
    }

    /// <exception cref="PeerProtocolException">The message is malformed or beyond its limits.</exception>
    internal static OpenMessage Decode(ReadOnlySpan<byte> bytes)
    {
        ulong protocol = 0, endpointPort = 0, clientPort = 0;
        InetAddress? endpoint = null, client = null;
        var (space, name, port) = ("", "", "");
        var reader = new ProtobufReader(bytes);
        var ok = bytes.Length <= MaxLength;
        while (ok && reader.Next())
        {
            switch (reader.Field)
            {
                case 1:
                    protocol = reader.Number;
                    break;
                case 2:
                    ok = TryName(reader.Bytes, out space);
                    break;
                case 3:
                    ok = TryName(reader.Bytes, out name);
                    break;
                case 4:
                    ok = TryName(reader.Bytes, out port);
                    break;
                case 5:
                    ok = TryAddress(reader.Bytes, out endpoint);
                    break;
                case 6:
                    endpointPort = reader.Number;
                    break;
                case 7:
                    ok = TryAddress(reader.Bytes, out client);
                    break;
                case 8:
                    clientPort = reader.Number;
                    break;
            }
        }

        if (!ok || reader.Malformed || endpoint is null || protocol > 1 || endpointPort is 0 or > ushort.MaxValue || clientPort > ushort.MaxValue)
            throw new PeerProtocolException("a request to the proxy is malformed or too long");
        var transport = protocol == 1 ? TransportProtocol.Udp : TransportProtocol.Tcp;
        return new OpenMessage(
            transport,
            new ServicePortName(space, name, port, transport),
            new InetEndpoint(endpoint.Value, (ushort)endpointPort),
            new InetEndpoint(client ?? default, (ushort)clientPort));
    }

    private static bool TryAddress(ReadOnlySpan<byte> bytes, out InetAddress? address)
    {
        address = bytes.Length is 4 or 16 ? InetAddress.FromBytes(bytes) : null;
        return address is not null;
    }

    /// <summary>Names of the API are printable ASCII; whatever else comes would end in logs.</summary>
    private static bool TryName(ReadOnlySpan<byte> bytes, out string name)
    {
        name = "";
        if (bytes.Length > MaxName || bytes.ContainsAnyExceptInRange((byte)0x21, (byte)0x7E))
            return false;
        name = Encoding.ASCII.GetString(bytes);
        return true;
    }
}
