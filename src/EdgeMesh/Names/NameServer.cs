using System.Collections.Immutable;
using EdgeMesh.Dns.Forwarding;
using EdgeMesh.Dns.Messages;
using EdgeMesh.Dns.Serving;
using EdgeMesh.Linux;
using EdgeMesh.Net;
using EdgeMesh.Supervision;
using Microsoft.Extensions.Logging;

namespace EdgeMesh.Names;

/// <param name="Message">As a client would get it.</param>
public sealed record NameAnswer(byte[] Message, AnswerSource Source);

/// <summary>The DNS server of this node: Start, Use other upstreams whenever they change, and at the end Stop. Its thread is its own: a
/// flood of questions does not slow connections, and the other way round.</summary>
public sealed class NameServer : IAsyncDisposable
{
    private static readonly TimeSpan StopLimit = TimeSpan.FromSeconds(5);
    private static readonly TimeSpan AcceptLinger = TimeSpan.FromMilliseconds(500);

    private readonly NameLoop _names;
    private readonly TimeProvider _time;

    private NameServer(NameLoop names, TimeProvider time)
    {
        (_names, _time) = (names, time);
        Endpoints = [.. names.Datagrams.Select(d => d.Endpoint)];
    }

    /// <summary>Where it answers; ports of 0 are those that the kernel chose.</summary>
    public ImmutableArray<InetEndpoint> Endpoints { get; }

    public DnsCounters Counters => _names.Server.Counters;

    public NameCounters Sockets => _names.Counters;

    /// <summary>Every upstream and how it does.</summary>
    public IReadOnlyList<Upstream> Upstreams => _names.Server.Forwarder.Upstreams;

    /// <summary>Answers in the cache, and their bytes.</summary>
    public (int Count, long Bytes, long Evictions) Cache => (_names.Server.Cache.Count, _names.Server.Cache.Bytes, _names.Server.Cache.Evictions);

    public int Pending => _names.Server.Forwarder.Pending;

    /// <summary>A question of this server came back to it: an upstream asks us.</summary>
    public bool SeesItself => _names.Server.SeesItself;

    /// <summary>A fault has ended its thread: nobody is answered any more.</summary>
    public bool HasFailed => _names.Loop.HasFailed;

    /// <exception cref="IOException">An address cannot be listened on, most often because another server has the port; the message says
    /// which and why. Nothing is left behind.</exception>
    public static NameServer Start(NameServerOptions options, IZone zone, TimeProvider time, ILogger<NameServer> logger, Supervisor supervisor)
    {
        ArgumentNullException.ThrowIfNull(options);
        ArgumentNullException.ThrowIfNull(zone);
        ArgumentNullException.ThrowIfNull(logger);
        ArgumentNullException.ThrowIfNull(supervisor);
        if (options.Listen.IsDefaultOrEmpty)
            throw new ArgumentException("At least one address to answer at is needed.", nameof(options));
        var names = new NameLoop(options, zone, time, logger, supervisor);
        names.Loop.Start();
        return new NameServer(names, time);
    }

    /// <summary>From now on these are asked; what is known of one that stays is kept.</summary>
    public void Use(UpstreamTable upstreams) => _names.Loop.Post(() => _names.Server.Forwarder.Use(upstreams), static _ => { });

    /// <summary>Asks upstreams a question that comes back only where one of them asks us: see <see cref="SeesItself"/>.</summary>
    public void LookForLoop()
    {
        var name = WireName.FromText($"{Convert.ToHexStringLower(System.Security.Cryptography.RandomNumberGenerator.GetBytes(16))}.loop.edgemesh.internal")!;
        _names.Loop.Post(() => _names.Server.LookForLoop(name, _names.Now), static _ => { });
    }

    /// <summary>Asks as a client of this process would, and says where the answer came from.</summary>
    /// <exception cref="ArgumentException">That is no name.</exception>
    public async Task<NameAnswer> AskAsync(string name, RecordType type, CancellationToken cancellationToken)
    {
        var question = WireName.FromText(name) ?? throw new ArgumentException($"\"{name}\" is no name that DNS can have.", nameof(name));
        var request = new byte[DnsLimits.HeaderSize + question.Length + 4];
        new DnsHeader(0, DnsHeader.RecursionDesired, 1, 0, 0, 0).Write(request);
        question.CopyTo(request, DnsLimits.HeaderSize);
        var tail = request.AsSpan(DnsLimits.HeaderSize + question.Length);
        (tail[0], tail[1], tail[3]) = ((byte)((int)type >> 8), (byte)type, (byte)DnsLimits.ClassInternet);
        var asker = new TaskCompletionSource<NameAnswer>(TaskCreationOptions.RunContinuationsAsynchronously);
        _names.Loop.Post(() => _names.Ask(request, asker), e => asker.TrySetException(e));
        return await asker.Task.WaitAsync(cancellationToken);
    }

    /// <summary>Of two servers at the same addresses, the one whose sockets were opened first gets all that is new; by either of them, before the
    /// second opens its own. Where there is one, it is that.</summary>
    public void SteerToFirst() => SteerTo(0);

    /// <summary>The one whose sockets were opened second gets it, by either of them; what has arrived at the first is still answered there.
    /// This lasts until the first has closed its sockets, and then means the one that is left.</summary>
    public void SteerToSecond() => SteerTo(1);

    private void SteerTo(int place)
    {
        foreach (var listener in _names.Datagrams)
            listener.SteerTo(place);
        foreach (var listener in _names.Streams)
            listener.SteerTo(place);
    }

    /// <summary>After <see cref="SteerToSecond"/>: answers what has arrived here or waits for an upstream, up to the deadline, and ends.</summary>
    public async Task HandOverAsync(TimeSpan deadline)
    {
        // Connections that were begun with ours before that are through by then.
        await Task.Delay(AcceptLinger, _time);
        await StopAsync(deadline);
    }

    /// <summary>Stops listening, waits for what upstreams were asked, up to the deadline, and ends.</summary>
    public async Task StopAsync(TimeSpan deadline)
    {
        var until = _time.GetTimestamp();
        using var pause = new PeriodicTimer(TimeSpan.FromMilliseconds(20), _time);
        while (_names.Server.Forwarder.Waiting > 0 && _time.GetElapsedTime(until) < deadline && !HasFailed)
            await pause.WaitForNextTickAsync();
        await DisposeAsync();
    }

    public async ValueTask DisposeAsync()
    {
        if (_names.Loop.Finished.IsCompleted)
            return;
        _names.Loop.Post(
            () =>
            {
                _names.CloseAll();
                _names.Loop.Stop();
            },
            _ => _names.Loop.Stop());
        await _names.Loop.Finished.WaitAsync(StopLimit, _time).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
    }
}
