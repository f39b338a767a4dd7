using System.Collections.Immutable;
using System.Net;
using EdgeMesh.Hosts;
using EdgeMesh.Linux;
using EdgeMesh.Linux.Netlink;
using EdgeMesh.Netfilter;
using EdgeMesh.Netfilter.Nftables;
using EdgeMesh.Planning;
using EdgeMesh.Reconciling;
using Microsoft.Extensions.Logging;

namespace EdgeMesh.Agent.Hosting;

/// <summary>Keeps up what this host is like and what follows from it. Netlink tells of devices, addresses, routes and
/// forwarding; what nobody tells of is looked at every 5 s. Nothing of it depends on how many services there are.</summary>
internal sealed partial class HostWatch(string device, Func<HostPolicy> policy, TimeProvider time, ILogger<HostWatch> logger) : IDisposable
{
    private static readonly TimeSpan Turn = TimeSpan.FromMilliseconds(250);
    private static readonly TimeSpan Look = TimeSpan.FromSeconds(5);

    // Where looking takes long (thousands of chains are listed to find the few that matter), it is done less often, but still often
    // enough that a change is followed within 10 s.
    private const int RestPerLook = 300;
    private static readonly TimeSpan LongestRest = TimeSpan.FromSeconds(8);

    private HostReader? _reader;
    private HostObservation? _observation;
    private HostPolicy? _decidedWith;
    private long _lookedAt;
    private TimeSpan _took;
    private readonly Lock _gate = new();
    private readonly ImmutableArray<IPNetwork>[] _routes = [[], []];

    public HostCarriages Carriages { get; private set; } = HostCarriages.Unasked;

    public HostFacts? Facts { get; private set; }

    /// <summary>The first look; what it finds is what the first rules are made for.</summary>
    public HostCarriages Begin()
    {
        LookAgain(everything: true);
        return Carriages;
    }

    /// <param name="changed">Told whenever the host can carry something else than before.</param>
    public async Task RunAsync(Reconciler reconciler, Action<HostCarriages> changed, CancellationToken cancellationToken)
    {
        using var timer = new PeriodicTimer(Turn, time);
        while (await timer.WaitForNextTickAsync(cancellationToken))
        {
            var rest = _took * RestPerLook;
            rest = rest < Look ? Look : rest > LongestRest ? LongestRest : rest;
            var due = time.GetElapsedTime(_lookedAt) >= rest;
            if (due || (_reader?.HasChanged() ?? false) || BridgeFilterChanged() || !ReferenceEquals(policy(), _decidedWith))
            {
                var before = Carriages;
                var chains = _observation?.FilterChains ?? [];
                LookAgain(due);
                // Who changes chains may have taken rules of ours along.
                if (_observation is { } now && !now.FilterChains.AsSpan().SequenceEqual(chains.AsSpan()))
                    reconciler.RequestRepair();
                if (!ReferenceEquals(before, Carriages))
                    changed(Carriages);
            }

            KeepRoutes(reconciler.State.Plan);
        }
    }

    public void Dispose() => _reader?.Dispose();

    /// <summary>Nothing tells of these two switches, and connections that begin before they are seen stay lost.</summary>
    private bool BridgeFilterChanged() =>
        _observation is { } last
        && (HostReader.ReadBridgeFilter(ipv6: false) != last.BridgeFilterIPv4 || HostReader.ReadBridgeFilter(ipv6: true) != last.BridgeFilterIPv6);

    private void LookAgain(bool everything)
    {
        var start = time.GetTimestamp();
        try
        {
            _reader ??= HostReader.Open();
            var observation = _observation is null || everything || _reader.HasChanged() ? _reader.Read() : _observation;
            observation = observation with
            {
                BridgeFilterIPv4 = HostReader.ReadBridgeFilter(ipv6: false),
                BridgeFilterIPv6 = HostReader.ReadBridgeFilter(ipv6: true),
                FilterChains = _observation is null || everything ? FilterChainReader.Read(NftablesBackend.TableName) : _observation.FilterChains,
            };
            var rules = policy();
            if (_observation is null || !observation.IsSameAs(_observation) || !ReferenceEquals(rules, _decidedWith))
            {
                (_observation, _decidedWith) = (observation, rules);
                Facts = HostFacts.From(observation, device);
                Say(HostDecision.Decide(Facts, rules));
            }
        }
        catch (NetlinkException fault)
        {
            _reader?.Dispose();
            (_reader, _observation, Facts) = (null, null, null);
            LogBlind(Look.TotalSeconds, fault.Message);
            Say(HostDecision.Unknown(fault.Message));
        }

        if (everything)
            (_lookedAt, _took) = (time.GetTimestamp(), time.GetElapsedTime(start));
    }

    private void Say(HostCarriages now)
    {
        if (now.IsSameAs(Carriages))
            return;
        foreach (var family in Enum.GetValues<IpFamily>())
        {
            var (before, after) = (Carriages.Of(family), now.Of(family));
            if (before.Code != after.Code || before.Sentence != after.Sentence)
                LogCarriage(family.ToString(), after.Code.ToString(), after.Sentence);
            foreach (var notice in after.Notices.Except(before.Notices))
                LogNotice(notice);
        }

        Carriages = now;
    }

    /// <summary>Routes for the node's own requests, where it has none that would do.</summary>
    public void KeepRoutes(ForwardingPlan plan)
    {
        lock (_gate)
            KeepRoutesOf(plan);
    }

    private void KeepRoutesOf(ForwardingPlan plan)
    {
        foreach (var family in Enum.GetValues<IpFamily>())
        {
            var ipv6 = family == IpFamily.IPv6;
            var wanted = Carriages.Of(family).NeedsServiceRoute && _observation is not null ? plan.ServiceNetworks(family) : [];
            ref var stands = ref _routes[(int)family];
            if (wanted.AsSpan().SequenceEqual(stands.AsSpan()))
                continue;
            try
            {
                if (wanted.IsEmpty)
                {
                    ServiceRoutes.Remove(ipv6);
                }
                else
                {
                    var index = _observation!.Links.FirstOrDefault(link => link.Name == device).Index;
                    ServiceRoutes.Set(ipv6, index, Source(_observation, ipv6), wanted, stands);
                    LogRoutes(family.ToString(), ServiceRoutes.Table, string.Join(", ", wanted));
                }

                stands = wanted;
            }
            catch (NetlinkException fault)
            {
                LogRoutesFailed(fault.Message);
            }
        }
    }

    /// <summary>An address that others can answer to; with the device's own, what no rule of ours takes could go nowhere.</summary>
    private InetAddress? Source(HostObservation observation, bool ipv6)
    {
        foreach (var address in observation.Addresses)
        {
            if (address.IsGlobal && address.Address.IsIPv6 == ipv6 && address.Device != device && address.DeviceKind != "dummy")
                return address.Address;
        }

        return null;
    }
}
