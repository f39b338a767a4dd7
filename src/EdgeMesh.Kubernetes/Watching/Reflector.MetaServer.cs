using System.Threading.Channels;
using EdgeMesh.Kubernetes.Api;

namespace EdgeMesh.Kubernetes.Watching;

/// <summary>
/// At the edge. A metaServer answers from a local database while its cloud is away, its watch replays that database as
/// ADDED whatever version is asked for, and falls silent without an end. So the watch makes changes quick, a list each half
/// to whole minute makes them right, and <see cref="ObjectStore{T}"/> lets nothing local undo what the cloud said.
/// </summary>
internal sealed partial class Reflector<T>
{
    private const int FewUntilBelieved = 3;
    private const int BackUntilBelieved = 5;

    private readonly Channel<bool> _relist = Channel.CreateBounded<bool>(new BoundedChannelOptions(1) { FullMode = BoundedChannelFullMode.DropWrite });

    /// <summary>A watch of a kind that the cloud refuses hangs it for every node; a list of one is empty and says nothing.</summary>
    private readonly TaskCompletionSource _allowed = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private ListTrust _doubt;
    private int _doubtful;

    public override CloudWord Word => _store.Word;

    public override void Seed(ClusterFacts facts)
    {
        if (Status.Health.Synced)
        {
            // A run that was begun again after a fault knows better than the cache.
            return;
        }

        _store.Seed(facts.Of(_kind), facts.Cloud.GetValueOrDefault(_kind.Plural));
        Status.Seeded(facts.AsOf);
    }

    private async Task RunAtMetaServerAsync(CancellationToken cancellationToken)
    {
        var backoff = NewBackoff();
        while (!Status.Health.Synced && !cancellationToken.IsCancellationRequested)
        {
            await AttemptAsync(backoff, () => ListAsync(cancellationToken), cancellationToken);
        }

        await Together.RunAsync(cancellationToken, KeepListingAsync, KeepWatchingAsync);
    }

    private async Task KeepListingAsync(CancellationToken cancellationToken)
    {
        var backoff = NewBackoff();
        while (!cancellationToken.IsCancellationRequested)
        {
            await WaitForRelistAsync(cancellationToken);
            var lists = Status.Health.Lists;
            do
            {
                // Lists are not events: after each, AttemptAsync waits one short back-off, which also spaces prompt lists.
                await AttemptAsync(backoff, () => ListAsync(cancellationToken), cancellationToken);
            }
            while (Status.Health.Lists == lists && !cancellationToken.IsCancellationRequested);

            if (Status.Health.Fault is null)
            {
                backoff.Reset();
            }
        }
    }

    private async Task KeepWatchingAsync(CancellationToken cancellationToken)
    {
        await _allowed.Task.WaitAsync(cancellationToken).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        var backoff = NewBackoff();
        while (!cancellationToken.IsCancellationRequested)
        {
            using var round = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken, _round.Token);
            await AttemptAsync(backoff, () => WatchRoundAsync(round.Token, cancellationToken), cancellationToken);
            // What happened between two watches is not replayed if it was a deletion.
            _relist.Writer.TryWrite(true);
        }
    }

    private async Task WatchRoundAsync(CancellationToken round, CancellationToken cancellationToken)
    {
        try
        {
            await WatchAsync(_timings.MetaServerSilence, round);
        }
        catch (OperationCanceledException) when (!cancellationToken.IsCancellationRequested)
        {
            // To be opened anew.
        }
    }

    private async Task WaitForRelistAsync(CancellationToken cancellationToken)
    {
        using var due = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        var regular = Task.Delay(Between(Status.Health.Offline ? _timings.RelistOffline : _timings.Relist), _time, due.Token);
        var prompt = _relist.Reader.WaitToReadAsync(due.Token).AsTask();
        await Task.WhenAny(regular, prompt);
        if (prompt.IsCompletedSuccessfully)
        {
            await Task.Delay(_timings.PromptRelist, _time, due.Token).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            _relist.Reader.TryRead(out _);
        }

        await due.CancelAsync();
    }

    private void Deleted(ObjectName name, string? version)
    {
        if (!_selection.AtMetaServer)
        {
            _store.Remove(name);
            return;
        }

        // Believed or not: ask soon.
        _store.RemoveByWatch(name, version);
        _relist.Writer.TryWrite(true);
    }

    /// <summary>Takes from a list as much as it may be trusted for.</summary>
    private async Task TakeAsync(ObjectStore<T>.Listing listing, ListMeta? metadata, CancellationToken cancellationToken)
    {
        var trust = _store.Judge(metadata, listing.Seen);
        var back = trust == ListTrust.Back;
        if (trust is ListTrust.Few or ListTrust.Back)
        {
            _doubtful = trust == _doubt ? _doubtful + 1 : 1;
            _doubt = trust;
            // A cloud that was emptied, or brought back from a backup, keeps saying so.
            trust = _doubtful >= (back ? BackUntilBelieved : FewUntilBelieved) && (!back || await _client.IsWellAsync("healthz", cancellationToken)) ? ListTrust.Cloud : trust;
        }
        else
        {
            _doubtful = 0;
        }

        if (trust == ListTrust.Cloud)
        {
            var (first, offline) = (!_allowed.Task.IsCompleted, Status.Health.Offline);
            var missed = listing.ApplyCloud(metadata!.ResourceVersion, authoritative: back);
            Status.Listed();
            if (offline)
            {
                LogOnline(_logger, _kind.Plural);
            }

            // A list right after the watches were opened finds what happened between; later ones what they did not tell.
            if ((offline || (missed && !first)) && _round.Renew())
            {
                LogReopened(_logger, _kind.Plural);
            }

            if (listing.Seen > 0)
            {
                _allowed.TrySetResult();
            }

            return;
        }

        listing.ApplyLocal();
        var usable = !_store.Objects.IsEmpty;
        if (Status.Offline(usable))
        {
            LogOffline(_logger, _kind.Plural, Status.Health.CloudAsOf);
        }

        if (trust != ListTrust.Local || !usable)
        {
            _changed();
            _relist.Writer.TryWrite(true);
            throw new ApiFaultException(trust switch
            {
                ListTrust.Back => $"the metaServer lists {_kind.Plural} at resourceVersion '{ApiClient.OneLine(metadata?.ResourceVersion ?? "")}', which is not above what the cloud said before; asking again before believing it",
                ListTrust.Few => $"the metaServer lists {(listing.Seen == 0 ? $"no {_kind.Plural} at all" : $"far fewer {_kind.Plural} than there were")}; asking again before believing it",
                _ => $"the metaServer lists no {_kind.Plural} at all from its local database: the cloud is away, or does not allow it to list them",
            });
        }
    }
}
