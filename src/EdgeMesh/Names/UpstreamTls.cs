using System.Buffers.Binary;
using System.Net.Security;
using System.Security.Authentication;
using System.Security.Cryptography.X509Certificates;
using System.Threading.Channels;
using EdgeMesh.Dns.Forwarding;
using EdgeMesh.Dns.Messages;
using EdgeMesh.Dns.Serving;
using EdgeMesh.Linux;
using EdgeMesh.Linux.Sockets;
using EdgeMesh.Net;
using EdgeMesh.Supervision;
using EdgeMesh.Tunnel.Loop;

namespace EdgeMesh.Names;

/// <summary>One connection to an upstream that is asked by TLS (RFC 7858), for all questions; made anew when it has ended and
/// there is a question. .NET's TLS is a stream with a task that reads and one that writes; what they bring goes to the loop.</summary>
internal sealed class UpstreamTls(NameLoop names, UpstreamServer server, Supervisor supervisor)
{
    private const int MostQueued = 256;
    private const int ReadSize = 16 * 1024;

    private static readonly TimeSpan HandshakeLimit = TimeSpan.FromSeconds(4);
    private static readonly TimeSpan IdleLimit = TimeSpan.FromSeconds(20);

    // The loop's alone: which question each id is for.
    private readonly Dictionary<ushort, Exchange> _open = [];
    private Channel<byte[]>? _outgoing;
    private CancellationTokenSource? _ending;

    /// <summary>On the loop's thread.</summary>
    internal bool TrySend(Exchange exchange, ReadOnlySpan<byte> message)
    {
        var frame = new byte[2 + message.Length];
        BinaryPrimitives.WriteUInt16BigEndian(frame, (ushort)message.Length);
        message.CopyTo(frame.AsSpan(2));
        if (_outgoing is null)
            Begin();
        if (!_open.TryAdd(exchange.Id, exchange))
            return false;
        if (!_outgoing!.Writer.TryWrite(frame))
        {
            _open.Remove(exchange.Id);
            return false;
        }

        exchange.Channel = this;
        return true;
    }

    /// <summary>On the loop's thread.</summary>
    internal void Forget(Exchange exchange)
    {
        if (_open.TryGetValue(exchange.Id, out var open) && ReferenceEquals(open, exchange))
            _open.Remove(exchange.Id);
    }

    /// <summary>On the loop's thread.</summary>
    internal void Stop() => _ending?.Cancel();

    private void Begin()
    {
        var outgoing = Channel.CreateBounded<byte[]>(new BoundedChannelOptions(MostQueued) { SingleReader = true });
        var ending = new CancellationTokenSource();
        (_outgoing, _ending) = (outgoing, ending);
        supervisor.Start(NameLoop.LoopName, () => RunAsync(outgoing, ending));
    }

    private async Task RunAsync(Channel<byte[]> outgoing, CancellationTokenSource ending)
    {
        // The loop's thread goes on at once.
        await Task.Yield();
        try
        {
            await using var stream = await ConnectAsync(ending.Token);
            var writing = WriteAsync(stream, outgoing.Reader, ending);
            await ReadAsync(stream, ending);
            await writing;
        }
        catch (Exception e) when (e is IOException or AuthenticationException or OperationCanceledException)
        {
            // An upstream that is away, or is not who it should be: its health says so.
        }
        finally
        {
            await ending.CancelAsync();
            names.Loop.Post(() => Ended(outgoing), static _ => { });
        }
    }

    private async Task<Stream> ConnectAsync(CancellationToken cancellationToken)
    {
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        limit.CancelAfter(HandshakeLimit);
        var descriptor = TcpSocket.Connect(InetEndpoint.From(server.Address), mark: 0);
        if (descriptor < 0)
            throw new IOException(Errno.Describe(-descriptor));
        TcpSocket.SendAtOnce(descriptor);
        var transport = new LoopTransport(names.Loop, new DescriptorHandle(descriptor));
        var tls = new SslStream(transport, leaveInnerStreamOpen: false);
        try
        {
            await transport.ConnectedAsync(limit.Token);
            await tls.AuthenticateAsClientAsync(Authentication(), limit.Token);
            return tls;
        }
        catch
        {
            await tls.DisposeAsync();
            throw;
        }
    }

    private SslClientAuthenticationOptions Authentication()
    {
        var options = new SslClientAuthenticationOptions { TargetHost = server.TlsName };
        if (names.UpstreamAuthorities is { } authorities)
        {
            var policy = new X509ChainPolicy { TrustMode = X509ChainTrustMode.CustomRootTrust, RevocationMode = X509RevocationMode.NoCheck };
            policy.CustomTrustStore.AddRange(authorities);
            options.CertificateChainPolicy = policy;
        }

        return options;
    }

    private static async Task WriteAsync(Stream stream, ChannelReader<byte[]> frames, CancellationTokenSource ending)
    {
        try
        {
            await foreach (var frame in frames.ReadAllAsync(ending.Token))
                await stream.WriteAsync(frame, ending.Token);
        }
        catch (Exception e) when (e is IOException or OperationCanceledException)
        {
            await ending.CancelAsync();
        }
    }

    private async Task ReadAsync(Stream stream, CancellationTokenSource ending)
    {
        var frames = new StreamFrames(DnsLimits.MaxMessage);
        var buffer = new byte[ReadSize];
        using var idle = CancellationTokenSource.CreateLinkedTokenSource(ending.Token);
        while (true)
        {
            idle.CancelAfter(IdleLimit);
            var count = await stream.ReadAsync(buffer, idle.Token);
            if (count == 0)
                return;
            Take(frames, buffer.AsSpan(0, count));
        }
    }

    private void Take(StreamFrames frames, ReadOnlySpan<byte> input)
    {
        while (frames.TryRead(ref input, out var message))
        {
            var copy = message.ToArray();
            names.Loop.Post(() => Deliver(copy), static _ => { });
        }
    }

    private void Deliver(byte[] message)
    {
        if (!DnsHeader.TryRead(message, out var header) || !_open.TryGetValue(header.Id, out var exchange))
            return;
        names.Server.Forwarder.Received(exchange, message, names.Now);
        names.Flush();
    }

    private void Ended(Channel<byte[]> outgoing)
    {
        if (!ReferenceEquals(_outgoing, outgoing))
            return;
        (_outgoing, _ending) = (null, null);
        foreach (var exchange in _open.Values.ToArray())
            names.Server.Forwarder.Failed(exchange, names.Now);
        names.Flush();
    }
}
