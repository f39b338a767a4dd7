using System.Collections.Immutable;
using System.Net;
using EdgeMesh.Catalog;
using EdgeMesh.Linux;
using EdgeMesh.Net;
using EdgeMesh.Netfilter;

namespace EdgeMesh.Planning;

/// <summary>The few networks that cover all endpoints and all service addresses of the kernel path, kept up as plans change:
/// what a change costs is what changed.</summary>
internal sealed class KernelPathNetworks
{
    // Rules are looked through one by one.
    private const int MostNetworks = 16;

    private readonly Side _ipv4 = new(24, 8);
    private readonly Side _ipv6 = new(64, 16);

    public void Apply(PlanChanges changes)
    {
        foreach (var service in changes.Before)
            Count(service, -1);
        foreach (var service in changes.After)
            Count(service, 1);
    }

    /// <summary>The same object while the networks are the same.</summary>
    public InvalidGuard Guard(IpFamily family) => Of(family).Guard();

    /// <summary>Those of every address at which a service is caught, whatever its path.</summary>
    public ImmutableDictionary<IpFamily, ImmutableArray<IPNetwork>> Caught() =>
        Enum.GetValues<IpFamily>().ToImmutableDictionary(family => family, family => Of(family).Caught.Networks());

    private Side Of(IpFamily family) => family == IpFamily.IPv4 ? _ipv4 : _ipv6;

    private void Count(PlannedService service, int by)
    {
        foreach (var port in service.Ports)
        {
            var side = Of(port.Family);
            // An address outside of the cluster has neighbours that are no services, and a route of its own. Its endpoints are as all others.
            var isInside = port.Address.Kind == CatchKind.ClusterIP;
            if (isInside && port.Path != ForwardingPath.NotCaught)
                side.Caught.Count(port.Address.Address, by);
            if (port.Path != ForwardingPath.Kernel)
                continue;
            if (isInside)
                side.Services.Count(port.Address.Address, by);
            foreach (ref readonly var endpoint in port.Port.Endpoints.AsSpan())
            {
                if (endpoint.Address.Address.IsIPv6 == port.Address.Address.IsIPv6)
                    side.Endpoints.Count(endpoint.Address.Address, by);
            }
        }
    }

    private sealed class Side(int finest, int widest)
    {
        private InvalidGuard? _guard;

        public Cover Endpoints { get; } = new(finest, widest);

        public Cover Services { get; } = new(finest, widest);

        public Cover Caught { get; } = new(finest, widest);

        public InvalidGuard Guard()
        {
            var now = new InvalidGuard(Endpoints.Networks(), Services.Networks());
            return _guard = now.IsSameAs(_guard) ? _guard! : now;
        }
    }

    /// <summary>Addresses, counted by network.</summary>
    private sealed class Cover(int finest, int widest)
    {
        private const int Step = 4;

        private readonly Dictionary<InetAddress, int> _uses = [];
        private ImmutableArray<IPNetwork> _networks = [];
        private bool _changed;

        public void Count(InetAddress address, int by)
        {
            var network = At(address, finest);
            var count = _uses.GetValueOrDefault(network);
            if (count + by > 0)
                _uses[network] = count + by;
            else
                _uses.Remove(network);
            _changed |= count == 0 || count + by <= 0;
        }

        public ImmutableArray<IPNetwork> Networks()
        {
            if (!_changed)
                return _networks;
            _changed = false;
            for (var length = finest; ; length -= Step)
            {
                var networks = _uses.Keys.Select(address => At(address, length)).Distinct().ToList();
                if (networks.Count > MostNetworks && length > widest)
                    continue;
                return _networks = [.. networks.OrderBy(network => network.Bits).Select(network => new IPNetwork(network.ToIPAddress(), length))];
            }
        }

        private static InetAddress At(InetAddress address, int length)
        {
            var host = address.Width - length;
            return address with { Bits = address.Bits >> host << host };
        }
    }
}
