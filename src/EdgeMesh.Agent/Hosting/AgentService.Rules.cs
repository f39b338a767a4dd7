using System.Collections.Immutable;
using EdgeMesh.Agent.Options;
using EdgeMesh.Hosts;
using EdgeMesh.Linux;
using EdgeMesh.Net;
using EdgeMesh.Netfilter;
using EdgeMesh.Netfilter.Iptables;
using EdgeMesh.Netfilter.Nftables;
using EdgeMesh.Planning;
using EdgeMesh.Tunnel;
using Microsoft.Extensions.Logging;

namespace EdgeMesh.Agent.Hosting;

/// <summary>Who carries the rules: the choice at the start, and what becomes of it while kube-proxy comes, goes elsewhere, or
/// this node gets back what it lacked.</summary>
internal sealed partial class AgentService
{
    private static readonly TimeSpan BetweenTraces = TimeSpan.FromSeconds(3);
    private static readonly TimeSpan LongestMove = TimeSpan.FromSeconds(20);
    private static readonly TimeSpan LongestRestForMissing = TimeSpan.FromSeconds(60);

    private readonly OwnSenders _senders = new();
    private ProgramRuns? _programs;
    private RuleBackends? _backends;
    private volatile ChosenBackend? _rules;
    private FollowingBackend? _backend;
    private volatile PlanningOptions? _planning;
    private PolicyMade? _hostPolicy;
    private bool _ipv6OnDevice;
    private TaskCompletionSource _moved = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private IptablesFinding? _seenMarks;
    private volatile ChosenBackend? _offered;
    private readonly Lock _openGate = new();
    private readonly List<ChosenBackend> _opened = [];

    /// <summary>A lock that somebody holds is no reason not to start: the rules come when it is free, and until then
    /// <c>/readyz</c> says what they wait for.</summary>
    private async Task ChooseRulesAsync(CancellationToken cancellationToken)
    {
        _programs = new ProgramRuns(time, _senders.Add);
        _backends = new RuleBackends(_options.Proxy, _senders, _programs, loggers, time);
        try
        {
            _rules = OpenRules(await _backends.ChooseAsync(seen: null, cancellationToken));
        }
        catch (NetfilterException fault) when (fault.IsTransient)
        {
            _rules = OpenRules(new RuleChoice(BackendKind.None, fault.Message, null, null, [], [], FollowsKubeProxy: false, IsHeld: true));
        }
        catch (NetfilterException fault)
        {
            throw new AgentStartException(fault.Message, fault);
        }

        _backend = new FollowingBackend(_rules.Backend, time, _rules.RemoveOthers);
    }

    private PlanningOptions With(ChosenBackend rules, PlanningOptions planning) => planning with
    {
        Listeners = ListenerAddresses.Listeners(_options.DeviceAddress, _listenPort, _ipv6OnDevice, rules.Backend.Families),
        KernelChoices = rules.KernelChoices,
    };

    /// <summary>Called by one part at a time: by the start, then by the look at this host. The same reference while nothing changes.</summary>
    private HostPolicy PolicyOfHost()
    {
        var rules = _rules!;
        var ranges = _source!.Current?.NodePodRanges ?? [];
        if (_hostPolicy is { } policy && ReferenceEquals(rules, policy.For) && ranges.AsSpan().SequenceEqual(policy.Ranges.AsSpan()))
            return policy.Policy;
        var now = new HostPolicy
        {
            Detection = _options.Proxy.DetectLocal,
            ClusterRanges = [.. _options.Proxy.ClusterRanges.Select(range => new AddressRange(InetAddress.From(range.BaseAddress), range.PrefixLength))],
            PodRanges = [.. ranges.Select(text => AddressRange.TryParse(text, out var range) ? range : null).OfType<AddressRange>()],
            MasqueradeAll = _options.Proxy.MasqueradeAll,
            Listeners = [.. ListenerAddresses.Of(_options.DeviceAddress)],
            OwnFilterIsLegacy = rules.Backend.Name switch
            {
                "iptables-nft" => false,
                "iptables-legacy" => true,
                _ => null,
            },
        };
        _hostPolicy = new PolicyMade(rules, ranges, now);
        return now;
    }

    /// <summary>Runs the guard of the backend that carries the rules, and of the next one when that follows. A guard that begins
    /// looks at once at what stands.</summary>
    private async Task GuardAsync(CancellationToken cancellationToken)
    {
        while (!cancellationToken.IsCancellationRequested)
        {
            // Read before the backend: a move in between is then seen at once.
            var moved = Volatile.Read(ref _moved).Task;
            using var guarding = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
            var guard = NewGuard(_rules!).RunAsync(guarding.Token);
            await Task.WhenAny(guard, moved);
            await guarding.CancelAsync();
            await guard;
        }
    }

    /// <summary>Looks where kube-proxy writes, and for what this node lacked. The signs cost a few system calls; programs
    /// are asked only when they change, or while something is missing.</summary>
    private async Task FollowRulesAsync(CancellationToken cancellationToken)
    {
        _seenMarks ??= _rules!.Choice.Iptables;
        var seen = ReadTraces();
        var rest = BetweenTraces;
        var asked = time.GetTimestamp();
        using var timer = new PeriodicTimer(BetweenTraces, time);
        while (await timer.WaitForNextTickAsync(cancellationToken))
        {
            var standing = _rules!.Choice;
            var now = ReadTraces();
            var incomplete = standing.Kind == BackendKind.None || !standing.Missing.IsEmpty;
            if (now == seen && !(incomplete && time.GetElapsedTime(asked) >= rest))
                continue;
            try
            {
                var choice = await _backends!.ChooseAsync(_seenMarks, cancellationToken);
                rest = standing.Kind == BackendKind.None || now != seen ? BetweenTraces
                    : rest * 2 < LongestRestForMissing ? rest * 2 : LongestRestForMissing;
                if (_offered is not null && choice.Identity == standing.Identity)
                    await MoveAsync(_rules, cancellationToken);
                else if (choice.Identity != _offered?.Choice.Identity && choice.Supersedes(standing))
                    await MoveAsync(OpenRules(choice), cancellationToken);
                // What is held is asked for again until it is free.
                if (!choice.IsHeld)
                    (seen, _seenMarks) = (now, choice.Iptables ?? _seenMarks);
            }
            catch (NetfilterException fault)
            {
                LogChoiceFailed(fault.Message);
            }

            asked = time.GetTimestamp();
        }
    }

    /// <summary>Once kube-proxy is known to write with iptables-legacy, or we do, its nat table changes with every service and tells no more.</summary>
    private KubeProxyTraces ReadTraces() => KubeProxyTraces.Read(
        natTells: !_rules!.IsLegacy && _seenMarks?.Marks.Any(mark => mark is { Variant: IptablesVariant.Legacy, Weight: > 0 }) != true);

    /// <summary>The rules move with the next sync that the new backend takes; until then those of the old one stand and follow.</summary>
    private async Task MoveAsync(ChosenBackend next, CancellationToken cancellationToken)
    {
        LogMoving(next.Choice.Name, _rules!.Choice.Name, next.Choice.Reason);
        var arrived = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        _offered = next;
        _heart!.BeatAlso(next.Heartbeat);
        _planning = With(next, _planning!);
        _backend!.Offer(next.Backend, next.RemoveOthers, () =>
        {
            Arrive(next);
            arrived.TrySetResult();
        });
        UsePolicy();
        _reconciler!.Hurry();
        try
        {
            await arrived.Task.WaitAsync(LongestMove, time, cancellationToken);
        }
        catch (TimeoutException)
        {
            // It is still on offer, and kube-proxy may go elsewhere meanwhile.
            return;
        }

        foreach (var notice in next.Choice.Missing)
            LogNotice(notice);
        _reconciler.RequestRepair();
        _tcp!.BeatSoon();
    }

    private void Arrive(ChosenBackend next)
    {
        var before = _rules;
        _rules = next;
        _offered = null;
        _heart!.BeatOnly(next.Heartbeat);
        Interlocked.Exchange(ref _moved, new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously)).TrySetResult();
        lock (_openGate)
        {
            // The one before may be in use for a moment yet, and a newer one may be on offer.
            foreach (var old in _opened.TakeWhile(opened => opened != next).Where(opened => opened != before).ToArray())
            {
                _opened.Remove(old);
                old.Dispose();
            }
        }
    }

    private ChosenBackend OpenRules(RuleChoice choice)
    {
        var opened = _backends!.Open(choice);
        lock (_openGate)
            _opened.Add(opened);
        return opened;
    }

    private void CloseRules()
    {
        lock (_openGate)
        {
            foreach (var opened in _opened)
                opened.Dispose();
            _opened.Clear();
        }
    }

    /// <summary>An agent that handled services before may have left rules that nobody would follow changes of.</summary>
    private async Task RemoveRulesAsync(CancellationToken cancellationToken)
    {
        try
        {
            await _backend!.RemoveAsync(cancellationToken);
        }
        catch (NetfilterException fault)
        {
            _notices = _notices.Add($"rules of an earlier run could not be removed: {fault.Message} `edgemesh-agent cleanup` removes them too.");
            LogNotice(_notices[^1]);
        }
    }

    private IEnumerable<string> RuleNotices() =>
    [
        .. _rules!.Choice.Missing,
        .. _rules.FoundAtFirstSync(),
        .. _reconciler?.State.Incomplete is { } incomplete ? (string[])[$"{incomplete} It is tried again."] : [],
        .. _backend!.LeftBehind.Select(left => $"rules of ours in a backend that is not in use could not be removed yet: {left}"),
    ];

    private sealed record PolicyMade(ChosenBackend For, ImmutableArray<string> Ranges, HostPolicy Policy);
}
