using System.Collections.Immutable;
using System.Net;
using EdgeMesh.Hosts;
using EdgeMesh.Linux;
using EdgeMesh.Linux.Netlink;
using EdgeMesh.Net;
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
    private readonly FamilyRoutes[] _routes = [new(), new()];

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

            KeepRoutes(reconciler.State.Plan, again: due);
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
            var (chains, shut) = _observation is null || everything
                ? FilterChainReader.Read(NftablesBackend.TableName, policy().Listeners)
                : (_observation.FilterChains, _observation.ShutDevices);
            observation = observation with
            {
                BridgeFilterIPv4 = HostReader.ReadBridgeFilter(ipv6: false),
                BridgeFilterIPv6 = HostReader.ReadBridgeFilter(ipv6: true),
                FilterChains = chains,
                ShutDevices = shut,
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
    /// <param name="again">Those that should stand already are set too: somebody may have taken them, or the kernel refused them.</param>
    public void KeepRoutes(ForwardingPlan plan, bool again = false)
    {
        lock (_gate)
        {
            foreach (var family in Enum.GetValues<IpFamily>())
                KeepRoutesOf(family, plan, again);
        }
    }

    private void KeepRoutesOf(IpFamily family, ForwardingPlan plan, bool again)
    {
        var ipv6 = family == IpFamily.IPv6;
        var asked = _routes[ipv6 ? 1 : 0];
        var networks = Carriages.Of(family).NeedsServiceRoute && _observation is not null ? plan.ServiceNetworks(family) : [];
        var index = networks.IsEmpty ? 0 : _observation!.Links.FirstOrDefault(link => link.Name == device).Index;
        var source = networks.IsEmpty ? null : Source(_observation!, ipv6);
        var same = networks.AsSpan().SequenceEqual(asked.Networks.AsSpan()) && (index, source) == (asked.Device, asked.Source);
        if (same && !(again && (!networks.IsEmpty || asked.Fault is not null)))
            return;
        (asked.Networks, asked.Device, asked.Source) = (networks, index, source);
        try
        {
            if (networks.IsEmpty)
                ServiceRoutes.Remove(ipv6);
            else
                ServiceRoutes.Set(ipv6, index, source, networks, asked.Written);
            // What is left in the table when nobody looks into it goes when somebody does again.
            if (!networks.IsEmpty)
                asked.Written = networks;
            if (!networks.IsEmpty && (!same || asked.Fault is not null))
                LogRoutes(family.ToString(), ServiceRoutes.Table, string.Join(", ", networks));
            asked.Fault = null;
        }
        catch (NetlinkException fault)
        {
            // Any of them may stand.
            asked.Written = [.. asked.Written.Union(networks)];
            if (asked.Fault != fault.Message)
                LogRoutesFailed(fault.Message);
            asked.Fault = fault.Message;
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

    /// <summary>What was last asked for in one family, and what may stand of it.</summary>
    private sealed class FamilyRoutes
    {
        public ImmutableArray<IPNetwork> Networks { get; set; } = [];

        public int Device { get; set; }

        public InetAddress? Source { get; set; }

        public ImmutableArray<IPNetwork> Written { get; set; } = [];

        public string? Fault { get; set; }
    }
}
