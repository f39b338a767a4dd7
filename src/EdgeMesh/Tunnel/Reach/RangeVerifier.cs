using System.Collections.Immutable;
using System.Net;
using EdgeMesh.Linux;
using EdgeMesh.Net;
using EdgeMesh.Tunnel.Sessions;

namespace EdgeMesh.Tunnel.Reach;

/// <summary>Keeps one probe for each address at which an announced range of a node can be asked, and says what came of it.</summary>
internal sealed class RangeVerifier(MeshContext mesh, Func<IEnumerable<PeerLink>> links, HelloExchange hello)
{
    private const int MaxProbesPerNode = 8;
    private static readonly TimeSpan Turn = TimeSpan.FromMilliseconds(500);

    private readonly Dictionary<(PeerLink Link, IPEndPoint Via), RangeProbe> _probes = [];
    private readonly Change _changed = new();
    private volatile Reachability _current = Reachability.Empty;

    internal Reachability Current => _current;

    internal Action<Reachability>? Changed { get; set; }

    internal void Start() => mesh.Supervisor.StartLoop("range-verifier", _ => RunAsync(), mesh.Stopping);

    /// <summary>Where a range can be asked: at its own address, or else at another announced one inside it.</summary>
    internal static InetEndpoint? Via(AddressRange range, HelloMessage announced)
    {
        ushort port = 0;
        var listening = new List<InetAddress>();
        foreach (var address in announced.Addresses)
        {
            if (!address.TryGetTcpEndPoint(out var endPoint))
                continue;
            port = port == 0 ? (ushort)endPoint.Port : port;
            listening.Add(InetAddress.From(endPoint.Address));
        }

        if (port == 0)
            return null;
        var hosts = announced.Ranges.Where(r => r.HasHost).Select(r => r.Address).Concat(listening).Where(range.Contains);
        return range.HasHost ? new InetEndpoint(range.Address, port)
            : hosts.Select(h => (InetEndpoint?)new InetEndpoint(h, port)).FirstOrDefault();
    }

    private async Task RunAsync()
    {
        while (!mesh.Stopping.IsCancellationRequested)
        {
            var changed = _changed.Next;
            Publish(TakeStock());
            await mesh.WaitAsync(Turn, changed);
        }
    }

    /// <summary>Begins probes that are missing, ends those that nobody needs, and gathers what all of them know.</summary>
    private Dictionary<string, ImmutableArray<RangeReach>> TakeStock()
    {
        var nodes = new Dictionary<string, ImmutableArray<RangeReach>>(StringComparer.Ordinal);
        var needed = new HashSet<(PeerLink, IPEndPoint)>();
        foreach (var link in links())
        {
            if (link is not { IsKept: true, Hello: { Ranges.IsEmpty: false } announced })
                continue;
            var vias = new HashSet<IPEndPoint>();
            var reaches = ImmutableArray.CreateBuilder<RangeReach>(announced.Ranges.Length);
            foreach (var range in announced.Ranges)
            {
                if (Via(range, announced) is not { } via || !AnnouncedAddress.IsDialable(via, mesh.Options))
                {
                    reaches.Add(new RangeReach(range, null, RangeState.Unverified, null, $"{link.Name} announced no address inside it that could be asked"));
                    continue;
                }

                var endPoint = via.ToIPEndPoint();
                if (vias.Count == MaxProbesPerNode && !vias.Contains(endPoint))
                {
                    reaches.Add(new RangeReach(range, via, RangeState.Unverified, null, $"{link.Name} announced more than {MaxProbesPerNode} addresses to ask at"));
                    continue;
                }

                vias.Add(endPoint);
                needed.Add((link, endPoint));
                var probe = ProbeOf(link, endPoint);
                reaches.Add(new RangeReach(range, via, probe.State, probe.RoundTrip, probe.Reason));
            }

            nodes[link.Name] = reaches.ToImmutable();
        }

        foreach (var (key, probe) in _probes)
        {
            if (!needed.Contains(key))
            {
                probe.End();
                _probes.Remove(key);
            }
        }

        return nodes;
    }

    private RangeProbe ProbeOf(PeerLink link, IPEndPoint via)
    {
        if (_probes.TryGetValue((link, via), out var probe))
            return probe;
        probe = new RangeProbe(link, via, mesh, hello, _changed.Tell);
        _probes[(link, via)] = probe;
        mesh.Supervisor.StartLoop("range-probe", _ => probe.RunAsync(), mesh.Stopping);
        return probe;
    }

    private void Publish(Dictionary<string, ImmutableArray<RangeReach>> nodes)
    {
        var before = _current;
        var now = new Reachability(nodes);
        _current = now;
        if (!now.DecidesAs(before))
            Changed?.Invoke(now);
    }
}
