using System.Collections.Immutable;
using System.Net;
using EdgeMesh.Kubernetes.Api;
using Microsoft.Extensions.Logging;

namespace EdgeMesh.Kubernetes.Watching;

/// <summary>What the reflectors of one source share.</summary>
internal sealed record ReflectorParts(ApiClient Client, Action Changed, StandingFaults Standing, WatchRound Round, ApiTimings Timings, TimeProvider Time, ILogger Logger);

/// <inheritdoc cref="Reflector{T}"/>
internal abstract class Reflector(Kind kind, TimeProvider time)
{
    public Kind Kind { get; } = kind;

    public KindStatus Status { get; } = new(kind.Plural, time);

    public abstract CloudWord Word { get; }

    /// <returns>The facts with the objects of this kind as last heard.</returns>
    public abstract ClusterFacts AddTo(ClusterFacts facts);

    public abstract void Seed(ClusterFacts facts);

    /// <summary>Runs until cancelled; faults go to <see cref="Status"/> and the log.</summary>
    public abstract Task RunAsync(CancellationToken cancellationToken);
}

/// <summary>
/// Keeps a copy of one kind of object: list, then watch from the list's version; a watch that ends goes on from the last
/// version heard; a version that is too old (410), or bytes that are no events, lead to a new list. Until a list is whole
/// and proven to be one, the copy stays as it was.
/// </summary>
internal sealed partial class Reflector<T> : Reflector
    where T : KubernetesObject
{
    private const int PageSize = 500;
    private const int FaultsUntilWarning = 3;
    private static readonly TimeSpan LongestRetryAfter = TimeSpan.FromMinutes(2);

    private readonly ApiClient _client;
    private readonly Kind<T> _kind;
    private readonly Selection _selection;
    private readonly ObjectStore<T> _store;
    private readonly Action _changed;
    private readonly StandingFaults _standing;
    private readonly ApiTimings _timings;
    private readonly TimeProvider _time;
    private readonly ILogger _logger;
    private readonly WatchRound _round;
    private string? _version;
    private int _faultsInARow;
    private string? _lastObjectFault;

    public Reflector(ReflectorParts parts, Kind<T> kind, Selection selection)
        : base(kind, parts.Time)
    {
        (_client, _changed, _standing, _round, _timings, _time, _logger) = parts;
        _kind = kind;
        _selection = selection;
        _store = new(kind, selection);
    }

    public ImmutableDictionary<ObjectName, T> Objects => _store.Objects;

    public override ClusterFacts AddTo(ClusterFacts facts) => facts.With(_kind, Objects);

    public override Task RunAsync(CancellationToken cancellationToken) =>
        _selection.AtMetaServer ? RunAtMetaServerAsync(cancellationToken) : RunAtApiServerAsync(cancellationToken);

    private async Task RunAtApiServerAsync(CancellationToken cancellationToken)
    {
        var backoff = NewBackoff();
        while (!cancellationToken.IsCancellationRequested)
        {
            await AttemptAsync(backoff, async () =>
            {
                if (_version is null)
                {
                    _version = await ListAsync(cancellationToken);
                }

                await WatchAsync(_timings.WatchSilence, cancellationToken);
            }, cancellationToken);
        }
    }

    /// <summary>One try, and the wait after it: none after a good one, so that nothing is missed between two watches.</summary>
    private async Task AttemptAsync(Backoff backoff, Func<Task> attempt, CancellationToken cancellationToken)
    {
        var started = _time.GetTimestamp();
        var events = Status.Health.Events;
        TimeSpan? asked = null;
        var (good, unreachable) = (false, false);
        try
        {
            await attempt();
            // An end that comes at once and without an event, again and again, must not become a busy loop.
            good = Status.Health.Events > events;
        }
        catch (OperationCanceledException) when (cancellationToken.IsCancellationRequested)
        {
            return;
        }
        catch (ApiFaultException e) when (_kind.IsOptional && e.Status == HttpStatusCode.NotFound)
        {
            Lacking();
            asked = Between(_timings.Lacking);
        }
        catch (ApiFaultException e)
        {
            if (e.ListAgain || e.IsExpired)
            {
                _version = null;
            }

            (asked, unreachable) = (e.RetryAfter, e.Unreachable);
            Report(e.Message, e, unreachable);
        }
        catch (Exception e)
        {
            // Nothing from outside may end the agent: what nobody foresaw is a fault like the others, with its trace.
            _version = null;
            Report($"unexpected {e.GetType().Name}: {e.Message}", e, unreachable: false);
        }

        if (good || unreachable || _time.GetElapsedTime(started) >= _timings.Steady)
        {
            backoff.Reset();
        }

        if (good)
        {
            return;
        }

        var wait = unreachable ? Between(_timings.Unreachable) : backoff.Next();
        if (asked is { } longer && longer > wait)
        {
            wait = longer < LongestRetryAfter ? longer : LongestRetryAfter;
        }

        await Task.Delay(wait, _time, cancellationToken).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
    }

    /// <summary>The cluster does not have this kind, or no longer.</summary>
    private void Lacking()
    {
        _version = null;
        _store.BeginList().Apply();
        Status.Listed();
        Recovered();
        _changed();
        LogLacking(_logger, _kind.Plural);
    }

    /// <returns>The version to watch from.</returns>
    private async Task<string?> ListAsync(CancellationToken cancellationToken)
    {
        var listing = _store.BeginList();
        ListEnvelope envelope;
        string? token = null;
        var limit = PageSize;
        do
        {
            try
            {
                envelope = await PageAsync(listing, limit, token, cancellationToken);
            }
            catch (ApiFaultException e) when (e.IsExpired && token is not null)
            {
                // The pages took longer than the server remembers: once more in a single answer, which is streamed anyway.
                listing = _store.BeginList();
                limit = 0;
                envelope = await PageAsync(listing, limit, null, cancellationToken);
            }

            var next = envelope.Metadata?.Continue;
            if (!string.IsNullOrEmpty(next) && next == token)
            {
                throw new ApiFaultException("the server sends the same page again and again") { ListAgain = true };
            }

            token = next;
        }
        while (!string.IsNullOrEmpty(token));

        if (!_selection.AtMetaServer && string.IsNullOrEmpty(envelope.Metadata?.ResourceVersion))
        {
            throw new ApiFaultException("the server sent a list without a resourceVersion") { ListAgain = true };
        }

        if (_selection.AtMetaServer)
        {
            await TakeAsync(listing, envelope.Metadata, cancellationToken);
        }
        else
        {
            listing.Apply();
            Status.Listed();
        }

        foreach (var fault in listing.Unreadable)
        {
            LogObject(fault);
        }

        Status.Objects(_store.Fault);
        Recovered();
        _changed();
        return envelope.Metadata?.ResourceVersion;
    }

    private async Task<ListEnvelope> PageAsync(ObjectStore<T>.Listing listing, int limit, string? token, CancellationToken cancellationToken)
    {
        using var answer = await _client.GetAsync(ApiPath.List(_kind.ListPath, _selection.Labels, _selection.Fields, limit, token), _timings.ListSilence, cancellationToken);
        var splitter = new ListSplitter(ObjectReader.LargestObject, listing.Add);
        var buffer = new byte[32 << 10];
        int read;
        while ((read = await answer.Body.ReadAsync(buffer, cancellationToken)) > 0)
        {
            splitter.Feed(buffer.AsSpan(0, read));
        }

        var envelope = splitter.Finish();
        // A page of somebody else, or an error page with status 200, must not pass for "there are none".
        var kindFits = envelope.Kind == _kind.ListKind || (_selection.AtMetaServer && envelope.Kind == "List");
        return kindFits && envelope.ApiVersion == _kind.ApiVersion
            ? envelope
            : throw new ApiFaultException($"the server sent {ApiClient.OneLine($"{envelope.ApiVersion ?? "?"} {envelope.Kind ?? "?"}")} where {_kind.ApiVersion} {_kind.ListKind} was expected") { ListAgain = true };
    }

    private async Task WatchAsync(TimeSpan silence, CancellationToken cancellationToken)
    {
        var (from, to) = _timings.WatchSeconds;
        var path = ApiPath.Watch(_kind.ListPath, _selection.WatchLabels ?? _selection.Labels, _selection.Fields, _version, Random.Shared.Next(from, to + 1), bookmarks: !_selection.AtMetaServer);
        using var answer = await _client.GetAsync(path, silence, cancellationToken);
        Status.WatchOpened();
        // A kind to which nothing happens is well again when its watch stays open; a bookmark may take a minute.
        await using var steady = _time.CreateTimer(_ => Recovered(), null, _timings.Steady, Timeout.InfiniteTimeSpan);
        using var lines = new LineReader(answer.Body, ObjectReader.LargestObject);
        while (true)
        {
            var kind = await lines.ReadAsync(cancellationToken);
            switch (kind)
            {
                case LineKind.End:
                    return;
                case LineKind.Unfinished:
                    throw new ApiFaultException("the watch was cut in the middle of a line");
                case LineKind.TooLong:
                    var (name, version, _) = ObjectReader.Identify(WatchLine.FrontOfObject(lines.Line.Span));
                    Unreadable(new(name, version, $"is larger than {ObjectReader.LargestObject >> 20} MB", null));
                    break;
                default:
                    Handle(lines.Line.Span);
                    break;
            }
        }
    }

    private void Handle(ReadOnlySpan<byte> line)
    {
        line = line.TrimEnd("\r "u8);
        line = line.StartsWith("\uFEFF"u8) ? line["\uFEFF"u8.Length..] : line;
        if (line.IsEmpty)
        {
            return;
        }

        var parsed = WatchLine.Parse(line);
        var json = line[parsed.Object];
        var identity = ObjectReader.Identify(json);
        if (identity.Kind is { } kind && kind != _kind.Name)
        {
            throw new ApiFaultException($"the server sent a {ApiClient.OneLine(kind)} in a watch of {_kind.Plural}") { ListAgain = true };
        }

        switch (parsed.Type)
        {
            case WatchEventType.Bookmark:
                Status.Heard();
                break;
            case WatchEventType.Deleted:
                Deleted(identity.Name, identity.ResourceVersion);
                break;
            default:
                if (_store.Upsert(json) is { } fault)
                {
                    LogObject(fault);
                }

                break;
        }

        _version = identity.ResourceVersion ?? _version;
        if (parsed.Type != WatchEventType.Bookmark)
        {
            Status.Event();
            Status.Objects(_store.Fault);
            _changed();
        }

        Recovered();
    }

    private void Unreadable(ObjectFault fault)
    {
        _store.MarkUnreadable(fault);
        LogObject(fault);
        Status.Event();
        Status.Objects(_store.Fault);
    }

    private Backoff NewBackoff() => new(_timings.FirstBackoff, _timings.LongestBackoff, Random.Shared);

    private static TimeSpan Between((TimeSpan From, TimeSpan To) range) => range.From + ((range.To - range.From) * Random.Shared.NextDouble());

    private void Report(string message, Exception e, bool unreachable)
    {
        Status.Fault(message, unreachable);
        var times = Interlocked.Increment(ref _faultsInARow);
        var lasting = times >= FaultsUntilWarning || !Status.Health.Synced;
        if (lasting && _standing.Say(_kind.Plural, message))
        {
            LogWarning(_logger, _kind.Plural, message);
        }
        else
        {
            LogFault(_logger, _kind.Plural, message, e);
        }
    }

    private void Recovered()
    {
        Status.Recovered();
        if (Interlocked.Exchange(ref _faultsInARow, 0) > 0 && _standing.Clear(_kind.Plural))
        {
            LogRecovered(_logger);
        }
    }

    private void LogObject(ObjectFault fault)
    {
        var text = $"{fault.Name}@{fault.ResourceVersion} {fault.Message}";
        if (text != _lastObjectFault)
        {
            // Once per object and version: a periodic list would say it each minute.
            _lastObjectFault = text;
            LogObjectFault(_logger, _kind.Name, fault.Name, fault.Message);
        }
    }
}
