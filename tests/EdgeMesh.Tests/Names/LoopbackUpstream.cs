using System.Net;
using System.Net.Security;
using System.Net.Sockets;
using System.Security.Authentication;
using System.Security.Cryptography.X509Certificates;
using EdgeMesh.Dns.Forwarding;
using EdgeMesh.Dns.Messages;
using EdgeMesh.Tests.Dns;

namespace EdgeMesh.Tests.Names;

/// <summary>A resolver on loopback, by UDP and TCP (or TLS) at one port, that answers as a test says.</summary>
internal sealed class LoopbackUpstream : IDisposable
{
    private readonly Socket _datagrams;
    private readonly TcpListener _streams;
    private readonly X509Certificate2? _certificate;

    internal LoopbackUpstream(X509Certificate2? certificate = null)
    {
        _certificate = certificate;
        (_datagrams, _streams) = Listen();
        _ = ServeDatagramsAsync();
        _ = ServeStreamsAsync();
    }

    /// <summary>A port that is free for TCP may be somebody's for UDP, and the other way.</summary>
    private static (Socket Datagrams, TcpListener Streams) Listen()
    {
        while (true)
        {
            var datagrams = new Socket(AddressFamily.InterNetwork, SocketType.Dgram, ProtocolType.Udp);
            datagrams.Bind(new IPEndPoint(IPAddress.Loopback, 0));
            var streams = new TcpListener((IPEndPoint)datagrams.LocalEndPoint!);
            try
            {
                streams.Start();
                return (datagrams, streams);
            }
            catch (SocketException e) when (e.SocketErrorCode == SocketError.AddressAlreadyInUse)
            {
                datagrams.Dispose();
            }
        }
    }

    internal UpstreamServer Server => new((IPEndPoint)_datagrams.LocalEndPoint!);

    /// <summary>Null: no answer.</summary>
    internal Func<byte[], bool, byte[]?> Answer { get; set; } = (query, _) => DnsText.Reply(query, ResponseCode.NoError, "60 A 192.0.2.9");

    internal int Asked;

    internal int Connections;

    public void Dispose()
    {
        _datagrams.Dispose();
        _streams.Dispose();
    }

    private async Task ServeDatagramsAsync()
    {
        var buffer = new byte[4096];
        try
        {
            while (true)
            {
                var received = await _datagrams.ReceiveFromAsync(buffer, SocketFlags.None, new IPEndPoint(IPAddress.Any, 0));
                Interlocked.Increment(ref Asked);
                if (Answer(buffer[..received.ReceivedBytes], false) is { } answer)
                    await _datagrams.SendToAsync(answer, SocketFlags.None, received.RemoteEndPoint);
            }
        }
        catch (Exception e) when (e is SocketException or ObjectDisposedException)
        {
            // Disposed.
        }
    }

    private async Task ServeStreamsAsync()
    {
        try
        {
            while (true)
            {
                var socket = await _streams.AcceptSocketAsync();
                Interlocked.Increment(ref Connections);
                _ = ServeAsync(socket);
            }
        }
        catch (Exception e) when (e is SocketException or ObjectDisposedException or InvalidOperationException)
        {
            // Disposed.
        }
    }

    private async Task ServeAsync(Socket socket)
    {
        try
        {
            await using var plain = new NetworkStream(socket, ownsSocket: true);
            await using var tls = _certificate is null ? null : new SslStream(plain);
            if (tls is not null)
                await tls.AuthenticateAsServerAsync(_certificate!);
            Stream stream = tls is null ? plain : tls;
            var prefix = new byte[2];
            while (true)
            {
                await stream.ReadExactlyAsync(prefix);
                var query = new byte[(prefix[0] << 8) | prefix[1]];
                await stream.ReadExactlyAsync(query);
                Interlocked.Increment(ref Asked);
                if (Answer(query, true) is { } answer)
                    await stream.WriteAsync((byte[])[(byte)(answer.Length >> 8), (byte)answer.Length, .. answer]);
            }
        }
        catch (Exception e) when (e is IOException or AuthenticationException or ObjectDisposedException)
        {
            // The client has gone, or does not believe the certificate.
        }
    }
}
