using System.Threading.Channels;

namespace EdgeMesh.Kubernetes.Watching;

/// <summary>
/// At the edge. A metaServer's watch replays everything as ADDED, whatever version is asked for, and loses events; its
/// deletions may be untrue. So the watch makes changes quick and a list each half to whole minute makes them right.
/// </summary>
internal sealed partial class Reflector<T>
{
    private const int EmptyListsUntilBelieved = 3;

    private readonly Channel<bool> _relist = Channel.CreateBounded<bool>(new BoundedChannelOptions(1) { FullMode = BoundedChannelFullMode.DropWrite });
    private int _emptyLists;

    private async Task RunAtMetaServerAsync(CancellationToken cancellationToken)
    {
        var backoff = NewBackoff();
        while (!Status.Health.Synced && !cancellationToken.IsCancellationRequested)
        {
            await AttemptAsync(backoff, () => ListAsync(cancellationToken), cancellationToken);
        }

        await Task.WhenAll(KeepListingAsync(cancellationToken), KeepWatchingAsync(cancellationToken));
    }

    private async Task KeepListingAsync(CancellationToken cancellationToken)
    {
        var backoff = NewBackoff();
        while (!cancellationToken.IsCancellationRequested)
        {
            await WaitForRelistAsync(cancellationToken);
            // Lists are not events: after each, AttemptAsync waits one short back-off, which also spaces prompt lists.
            await AttemptAsync(backoff, () => ListAsync(cancellationToken), cancellationToken);
            if (Status.Health.Fault is null)
            {
                backoff.Reset();
            }
        }
    }

    private async Task KeepWatchingAsync(CancellationToken cancellationToken)
    {
        var backoff = NewBackoff();
        while (!cancellationToken.IsCancellationRequested)
        {
            await AttemptAsync(backoff, () => WatchAsync(_timings.MetaServerSilence, cancellationToken), cancellationToken);
            // What happened between two watches is not replayed if it was a deletion.
            _relist.Writer.TryWrite(true);
        }
    }

    private async Task WaitForRelistAsync(CancellationToken cancellationToken)
    {
        var (from, to) = _timings.Relist;
        using var due = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        var regular = Task.Delay(from + ((to - from) * Random.Shared.NextDouble()), _time, due.Token);
        var prompt = _relist.Reader.WaitToReadAsync(due.Token).AsTask();
        await Task.WhenAny(regular, prompt);
        if (prompt.IsCompletedSuccessfully)
        {
            await Task.Delay(_timings.PromptRelist, _time, due.Token).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            _relist.Reader.TryRead(out _);
        }

        await due.CancelAsync();
    }

    /// <summary>A deletion may be untrue: ask soon.</summary>
    private void Deleted()
    {
        if (_selection.AtMetaServer)
        {
            _relist.Writer.TryWrite(true);
        }
    }

    /// <summary>Cut off from the cloud, a metaServer lists its local database, which may hold nothing yet: an empty list
    /// is believed when it comes three times in a row.</summary>
    private void ConfirmEmpty(int count)
    {
        if (count > 0 || !_selection.AtMetaServer)
        {
            _emptyLists = 0;
        }
        else if (++_emptyLists < EmptyListsUntilBelieved)
        {
            _relist.Writer.TryWrite(true);
            throw new ApiFaultException($"the metaServer lists no {_resource.Plural} at all; asking again before believing it");
        }
    }
}
