using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using EdgeMesh.Dns.Forwarding;
using EdgeMesh.Dns.Messages;
using EdgeMesh.Dns.Serving;
using EdgeMesh.Fairness;
using EdgeMesh.Linux;
using EdgeMesh.Linux.Datagrams;
using EdgeMesh.Net;
using EdgeMesh.Supervision;
using EdgeMesh.Tunnel.Loop;
using Microsoft.Extensions.Logging;

namespace EdgeMesh.Names;

/// <summary>
/// The sockets of one <see cref="DnsServer"/>, on one thread:
/// <code>
///   datagrams (recvmmsg) --> DnsServer.Receive --> answers (sendmmsg), all of a batch at once
///   streams              -->        |          --> answers, as they come
///                                   v
///                    UpstreamSocket, one for each message, or UpstreamTls, one for each upstream
/// </code>
/// Members belong to the loop's thread, unless they say otherwise.
/// </summary>
internal sealed class NameLoop : IAnswerSink, IUpstreamSockets, ITimed
{
    internal const string LoopName = "dns";

    private const long StreamPaths = 1L << 32;
    private static readonly TimeSpan Tick = TimeSpan.FromMilliseconds(1);

    private readonly NameServerOptions _options;
    private readonly Supervisor _supervisor;
    private readonly List<DatagramListener> _datagrams = [];
    private readonly List<StreamListener> _streams = [];
    private readonly Dictionary<long, StreamClient> _clients = [];
    private readonly FairShares _shares = new();
    private readonly Share _share = new(isService: true);
    private readonly Dictionary<long, TaskCompletionSource<NameAnswer>> _askedHere = [];
    private readonly Dictionary<UpstreamServer, UpstreamTls> _tls = [];
    private readonly DeadlineQueue _ticks;
    private readonly RandomIds _ids = new();
    private long _lastPath;
    private bool _isTicking;

    /// <exception cref="IOException">An address cannot be listened on; nothing is left behind.</exception>
    internal NameLoop(NameServerOptions options, IZone zone, TimeProvider time, ILogger logger, Supervisor supervisor)
    {
        _options = options;
        _supervisor = supervisor;
        Logger = logger;
        Loop = new TunnelLoop(logger, time, new TunnelLoopOptions { Polling = options.PollingLimit }, fault => supervisor.Report(LoopName, fault)) { Name = LoopName };
        _ticks = Loop.AddDeadlines(Tick);
        Idle = Loop.AddDeadlines(options.IdleTimeout);
        Server = new DnsServer(
            new DnsServerOptions
            {
                Allows = client => client.Path < 0 || options.Allows(new InetAddress(client.Address, client.IsIPv6)),
                Cache = options.Cache,
                Forwarder = options.Forwarder,
                MaxAnswersPerSecond = options.MaxAnswersPerSecond,
            },
            zone,
            this,
            this,
            _ids.Next,
            BitConverter.ToUInt64(RandomNumberGenerator.GetBytes(sizeof(ulong))));
        Server.Forwarder.Use(options.Upstreams);
        try
        {
            foreach (var endpoint in options.Listen)
            {
                var listener = new DatagramListener(this, endpoint, options.ListenerBufferBytes, _datagrams.Count);
                _datagrams.Add(listener);
                // By TCP at the port that UDP was given.
                _streams.Add(new StreamListener(this, listener.Endpoint));
            }
        }
        catch
        {
            CloseListeners();
            Loop.Dispose();
            throw;
        }
    }

    internal TunnelLoop Loop { get; }

    internal DnsServer Server { get; }

    internal ILogger Logger { get; }

    internal X509Certificate2Collection? UpstreamAuthorities => _options.UpstreamAuthorities;

    internal DeadlineQueue Idle { get; }

    internal long IdleMilliseconds => (long)_options.IdleTimeout.TotalMilliseconds;

    /// <summary>Where streams are read to.</summary>
    internal byte[] Input { get; } = GC.AllocateUninitializedArray<byte>(2 + DnsLimits.MaxMessage, pinned: true);

    /// <summary>Where answers are written.</summary>
    internal byte[] Answer { get; } = GC.AllocateUninitializedArray<byte>(2 + DnsLimits.MaxMessage, pinned: true);

    /// <summary>Where an answer for a stream gets its length in front.</summary>
    internal byte[] Frame { get; } = GC.AllocateUninitializedArray<byte>(2 + DnsLimits.MaxMessage, pinned: true);

    internal long Now => Loop.Now;

    internal NameCounters Counters { get; } = new();

    /// <summary>From any thread.</summary>
    internal IReadOnlyList<DatagramListener> Datagrams => _datagrams;

    /// <inheritdoc cref="Datagrams"/>
    internal IReadOnlyList<StreamListener> Streams => _streams;

    bool ITimed.IsDone => false;

    public void OnOverdue()
    {
        Server.Forwarder.Tick(Now);
        Flush();
        _isTicking = false;
        KeepTicking();
    }

    public void OnFault(Exception exception)
    {
        _isTicking = false;
        KeepTicking();
    }

    void IAnswerSink.Answer(in DnsClient client, ReadOnlySpan<byte> message, AnswerSource source)
    {
        if (client.Path < 0)
        {
            if (_askedHere.Remove(client.Path, out var asker))
                asker.TrySetResult(new NameAnswer(message.ToArray(), source));
        }
        else if (client.Path >= StreamPaths)
        {
            if (_clients.TryGetValue(client.Path, out var stream))
                stream.SendLate(message);
        }
        else
        {
            _datagrams[(int)client.Path].Put(message, new InetEndpoint(new InetAddress(client.Address, client.IsIPv6), client.Port));
        }
    }

    public bool TryOpen(Exchange exchange, ReadOnlySpan<byte> message)
    {
        KeepTicking();
        if (exchange.Path == UpstreamPath.Tls)
        {
            if (!_tls.TryGetValue(exchange.Upstream.Server, out var tls))
                _tls[exchange.Upstream.Server] = tls = new UpstreamTls(this, exchange.Upstream.Server, _supervisor);
            return tls.TrySend(exchange, message);
        }

        return UpstreamSocket.TryOpen(this, exchange, message);
    }

    public void Close(Exchange exchange)
    {
        switch (exchange.Channel)
        {
            case UpstreamSocket socket:
                socket.Close();
                break;
            case UpstreamTls tls:
                tls.Forget(exchange);
                break;
            default:
                break;
        }

        exchange.Channel = null;
    }

    /// <summary>Datagrams that answer requests which waited.</summary>
    internal void Flush()
    {
        foreach (var listener in _datagrams)
            listener.Flush();
    }

    /// <summary>A request of this process itself.</summary>
    internal void Ask(byte[] request, TaskCompletionSource<NameAnswer> asker)
    {
        var client = new DnsClient(0, IsIPv6: false, 0, IsStream: true, -(++_lastPath));
        _askedHere[client.Path] = asker;
        var length = Server.Receive(client, request, Answer, Now);
        if (length == 0)
            return;
        if (_askedHere.Remove(client.Path))
            asker.TrySetResult(new NameAnswer(Answer.AsSpan(0, length).ToArray(), Server.LastSource));
    }

    internal void Add(StreamClient client)
    {
        while (_clients.Count >= _options.MaxConnections && _shares.LeastMissed() is StreamClient least)
        {
            Counters.CountClosed();
            least.Close();
        }

        client.Path = StreamPaths + ++_lastPath;
        _clients.Add(client.Path, client);
        _shares.Enter(client, client.Peer.Address, _share);
        Counters.SetConnections(_clients.Count);
    }

    internal void Remove(StreamClient client)
    {
        if (!_clients.Remove(client.Path))
            return;
        _shares.Leave(client);
        Counters.SetConnections(_clients.Count);
    }

    internal void CloseListeners()
    {
        foreach (var listener in _datagrams)
            listener.Dispose();
        foreach (var listener in _streams)
            listener.Dispose();
    }

    /// <summary>Ends everything that is open; the listeners are closed before.</summary>
    internal void CloseAll()
    {
        Server.Forwarder.Abandon(Now);
        Flush();
        foreach (var tls in _tls.Values)
            tls.Stop();
        foreach (var client in _clients.Values.ToArray())
            client.Close();
        CloseListeners();
    }

    private void KeepTicking()
    {
        if (_isTicking || !Server.Forwarder.NeedsTicks)
            return;
        _isTicking = true;
        _ticks.Add(this);
    }
}
