using System.Collections.Frozen;
using System.Collections.Immutable;
using System.Net;
using System.Text;
using EdgeMesh.Agent.Admin;
using EdgeMesh.Agent.Options;
using EdgeMesh.Dns.Caching;
using EdgeMesh.Dns.Messages;
using EdgeMesh.Dns.Serving;
using EdgeMesh.Hosts;
using EdgeMesh.Kubernetes;
using EdgeMesh.Names;
using EdgeMesh.Net;
using EdgeMesh.Supervision;
using EdgeMesh.Tunnel;
using Microsoft.Extensions.Logging;

namespace EdgeMesh.Agent.Hosting.Names;

/// <summary>The answers to this node's questions for names: modules.edgeDNS. What keeps it from answering is a notice, and the proxy goes on.</summary>
internal sealed partial class NamesPart : IAsyncDisposable
{
    private const int LargestResolvConf = 64 * 1024;
    private static readonly TimeSpan LookAtFacts = TimeSpan.FromSeconds(1);
    private static readonly TimeSpan LookAtHost = TimeSpan.FromSeconds(5);
    private static readonly TimeSpan LastAnswers = TimeSpan.FromSeconds(5);

    private readonly EdgeDnsOptions _options;
    private readonly ImmutableArray<InetEndpoint> _listen;
    private readonly IClusterSource _source;
    private readonly Func<HostFacts?> _host;
    private readonly Func<FrozenSet<InetAddress>> _own;
    private readonly ILoggerFactory _loggers;
    private readonly ILogger<NamesPart> _logger;
    private readonly TimeProvider _time;
    private readonly Supervisor _supervisor;
    private readonly ClusterZone? _zone;
    private readonly NamesMetrics _metrics;
    private readonly ImmutableArray<AddressRange> _named;
    private volatile NameServer? _server;
    private volatile string? _taken;
    private volatile UpstreamChoice? _upstreams;
    private Clients? _clients;
    private bool _isOver;
    private volatile bool _isLeft;

    public NamesPart(
        AgentOptions options, bool ipv6OnDevice, IClusterSource source, Func<HostFacts?> host, Func<FrozenSet<InetAddress>> own,
        ILoggerFactory loggers, TimeProvider time, Supervisor supervisor)
    {
        _options = options.Dns;
        (_source, _host, _own, _loggers, _time, _supervisor) = (source, host, own, loggers, time, supervisor);
        _logger = loggers.CreateLogger<NamesPart>();
        _listen =
        [
            .. ListenerAddresses.Listeners(options.DeviceAddress, _options.ListenPort, ipv6OnDevice, [.. Enum.GetValues<IpFamily>()]).Values,
            .. _options.ListenAddresses.Select(address => new InetEndpoint(InetAddress.From(address), (ushort)_options.ListenPort)),
        ];
        _named = [.. _options.AllowedClients.Select(range => new AddressRange(InetAddress.From(range.BaseAddress), range.PrefixLength))];
        if (_options.CacheOnly is null)
            _zone = new ClusterZone(new ZoneOptions { Domains = _options.Domains, Servers = [.. _listen.Select(endpoint => endpoint.Address)] });
        _metrics = new NamesMetrics(() => _server);
    }

    /// <summary>Why names are not answered; null while they are.</summary>
    public string? Fault => _taken is { } taken ? taken
        : _server is { HasFailed: true } ? "the loop that answers names ended by a fault of this program (see the log); names are not answered until the agent is restarted"
        : null;

    public IEnumerable<string> Notices =>
    [
        .. Fault is { } fault ? (string[])[fault] : [],
        .. _upstreams?.Notice is { } notice ? (string[])[notice] : [],
        .. _server is { SeesItself: true } ? (string[])["a nameserver that this agent asks for other names asks this agent again: name others in modules.edgeDNS.upstreamServers, or have that one ask somebody else"] : [],
    ];

    /// <summary>Opens the port, where it can be had, before <see cref="RunAsync"/>. What is known at this moment is answered from the first
    /// question on.</summary>
    public void Begin()
    {
        if (_source.Current is { } facts)
            _zone?.Take(facts);
        Choose(_source.Current, ReadResolvConf());
        TryStart();
    }

    private void TryStart()
    {
        if (_isOver)
            return;
        try
        {
            _server = NameServer.Start(
                new NameServerOptions
                {
                    Listen = _listen,
                    Allows = Allows,
                    Upstreams = _upstreams!.Table,
                    Cache = _options.CacheOnly is { TotalSeconds: var most } ? new AnswerCacheOptions { MaxPositive = (int)most, MaxNegative = (int)most } : new AnswerCacheOptions(),
                    PollingLimit = TimeSpan.Zero,
                },
                _zone is null ? new NoZone() : _zone, _time, _loggers.CreateLogger<NameServer>(), _supervisor);
            _server.LookForLoop();
            _taken = null;
            LogAnswers(string.Join(", ", _listen), _zone is null ? "the cluster's DNS, whose answers are kept" : $"the names of {string.Join(", ", _options.Domains)}");
        }
        catch (IOException fault)
        {
            var notice = $"names are not answered: {fault.Message} Stop what has port {_options.ListenPort}, or give it other addresses than {string.Join(", ", _listen.Select(e => e.Address))}, or choose another modules.edgeDNS.listenPort";
            if (notice != _taken)
                LogCannotAnswer(notice);
            _taken = notice;
        }
    }

    /// <summary>Follows the cluster, the host's resolv.conf, and a port that is taken.</summary>
    public Task RunAsync(CancellationToken cancellationToken) =>
        Task.WhenAll(_zone?.FollowAsync(_source, cancellationToken) ?? Task.CompletedTask, FollowUpstreamsAsync(cancellationToken));

    /// <summary>A successor that opens its sockets gets no question before <see cref="LeaveToSuccessor"/>.</summary>
    public void KeepFromSuccessor() => _server?.SteerToFirst();

    /// <summary>Also from one that hangs. Not a share: a predecessor that closes its sockets would lose what is in its own.</summary>
    public void TakeFromPredecessor() => _server?.SteerToSecond();

    /// <summary>New questions are the successor's; those that wait for an upstream are answered until <see cref="StopAsync"/> has ended.</summary>
    public void LeaveToSuccessor()
    {
        _isLeft = true;
        _server?.SteerToSecond();
    }

    public Task StopAsync() => (_isLeft ? _server?.HandOverAsync(LastAnswers) : _server?.StopAsync(LastAnswers)) ?? Task.CompletedTask;

    /// <summary>For <c>edgemesh-agent dns</c>.</summary>
    /// <exception cref="ArgumentException">That is no name, or no type.</exception>
    /// <exception cref="IOException">Nothing is answered now.</exception>
    public async Task<NameStatus> AskAsync(string name, string type, CancellationToken cancellationToken)
    {
        if (!MessageText.TryReadType(type.Length == 0 ? "A" : type, out var asked))
            throw new ArgumentException($"'{type}' is no type of record: write A, AAAA, SRV, TXT, PTR, or a number.", nameof(type));
        if (Fault is { } fault || _server is not { } server)
            throw new IOException(Fault ?? "names are not answered yet");
        return NamesStatusText.Of(await server.AskAsync(name, asked, cancellationToken), _source.Health.Stale, _upstreams?.Table);
    }

    public NamesStatus ReadStatus() => NamesStatusText.Of(_options, _listen, _zone, _server);

    public async ValueTask DisposeAsync()
    {
        _isOver = true;
        _metrics.Dispose();
        if (_server is { } server)
            await server.DisposeAsync();
    }

    private async Task FollowUpstreamsAsync(CancellationToken cancellationToken)
    {
        var text = ReadResolvConf();
        var lookedAt = _time.GetTimestamp();
        using var timer = new PeriodicTimer(LookAtFacts, _time);
        do
        {
            var facts = _source.Current;
            if (_time.GetElapsedTime(lookedAt) >= LookAtHost)
                (text, lookedAt) = (ReadResolvConf(), _time.GetTimestamp());
            var others = Choose(facts, text);
            if (_server is not { } server)
            {
                TryStart();
            }
            else if (others)
            {
                server.Use(_upstreams!.Table);
                server.LookForLoop();
            }
        }
        while (await timer.WaitForNextTickAsync(cancellationToken));
    }

    /// <returns>Whether others are to be asked than before.</returns>
    private bool Choose(ClusterFacts? facts, string? text)
    {
        var choice = UpstreamChoice.Decide(_options.Upstream, text, _options.ListenPort == 53 ? [.. _listen.Select(e => e.Address.ToIPAddress())] : [], facts);
        var before = _upstreams;
        if (choice.Notice is { } notice && notice != before?.Notice)
            LogNotice(notice);
        var isNew = before is null || !choice.Table.IsSameAs(before.Table);
        _upstreams = isNew ? choice : before! with { Notice = choice.Notice };
        if (isNew)
            LogUpstreams(choice.Table.ToString());
        return isNew;
    }

    private string? ReadResolvConf()
    {
        try
        {
            return Encoding.UTF8.GetString(SmallFile.Read(_options.ResolvConf, LargestResolvConf));
        }
        catch (Exception fault) when (fault is IOException or UnauthorizedAccessException)
        {
            return null;
        }
    }

    /// <summary>By the thread that answers, for each question; what follows from the host is made anew when the host is another.</summary>
    private bool Allows(InetAddress client)
    {
        var (host, own, ranges) = (_host(), _own(), _source.Current?.NodePodRanges ?? []);
        if (_clients is not { } clients || !ReferenceEquals(clients.Host, host) || !ReferenceEquals(clients.Own, own) || clients.Ranges != ranges)
            _clients = clients = new Clients(host, own, ranges, LocalClients.Of(own, host, ranges, _named));
        return clients.Allowed.Contains(client);
    }

    private sealed record Clients(HostFacts? Host, FrozenSet<InetAddress> Own, ImmutableArray<string> Ranges, LocalClients Allowed);
}
