using System.Collections.Immutable;
using System.Net;
using EdgeMesh.Forwarding;
using EdgeMesh.Forwarding.Udp;
using EdgeMesh.Linux;
using EdgeMesh.Linux.Netlink;
using EdgeMesh.Net;
using EdgeMesh.Netfilter;
using Microsoft.Extensions.Logging;

namespace EdgeMesh.Agent.Hosting;

/// <summary>The user-mode data path: how it is made, and at which port it listens.</summary>
internal sealed partial class AgentService
{
    private Action? _listen;
    private int _listenPort;

    private void PrepareForwarding(ImmutableArray<InetEndpoint> listeners, long descriptors)
    {
        var budget = ConnectionBudget.Of(
            descriptors, _options.Proxy.MaxConnections, _options.Proxy.MaxUdpFlows, listeners.Length, ForwarderOptions.DefaultPipes, Environment.ProcessorCount);
        _heart = new HeartbeatGate(_rules!.Heartbeat);
        _tcp = new TcpForwarder(
            new ForwarderOptions
            {
                Listeners = listeners,
                MaxConnections = budget.Connections,
                PipesPerLoop = budget.PipesPerLoop,
                MaxPendingDials = _options.Proxy.MaxPendingDials,
                PollingLimit = Polling.Limit,
                Tunnel = _tunnel?.Dialer,
            },
            () => Volatile.Read(ref _routes), _heart, loggers, time, _supervisor);
        _listen = () =>
        {
            _tcp.Start(_inherited);
            var timeouts = ConntrackTimeouts.Read();
            _udp = UdpForwarder.Start(
                new UdpForwarderOptions
                {
                    Listeners = listeners,
                    MaxFlows = budget.Flows,
                    IdleTimeout = timeouts.UdpStream,
                    UnassuredTimeout = timeouts.Udp,
                    // Before conntrack may have forgotten the flow.
                    RevalidateAfter = TimeSpan.FromSeconds(Math.Min(10, timeouts.Udp.TotalSeconds / 3)),
                    Tunnel = _tunnel?.Dialer,
                },
                Volatile.Read(ref _routes), time, loggers.CreateLogger<UdpForwarder>(), _supervisor, _inherited);
            _inherited?.Dispose();
            _metrics = new ForwardingMetrics(_tcp, _udp);
            LogListening(string.Join(", ", listeners), budget.Connections);
        };
    }

    private void Listen()
    {
        try
        {
            _listen!();
        }
        catch (IOException fault)
        {
            throw new AgentStartException($"The user-mode listener could not be started: {fault.Message} If another program has the port, change modules.edgeProxy.listenPort or stop that program; if too few files may be open, raise LimitNOFILE of the service.", fault);
        }
    }

    /// <summary>Listens, and by itself: who has the same user id and came before is not let have a part of the connections.</summary>
    private void ListenAlone(int port)
    {
        Listen();
        if (KeepListenersToItself() > 0)
            throw new AgentStartException($"Another program of user {PeerCredentials.OwnUser} listens at port {port} on {_options.DeviceName}. Stop it, or change modules.edgeProxy.listenPort.");
    }

    /// <summary>Whoever else is there came while this agent and one of release 0.1.0 shared the port, or before this one had guards.</summary>
    private void KeepListenersToItselfFromNowOn()
    {
        if (KeepListenersToItself() > 0)
            Say($"another program of user {PeerCredentials.OwnUser} listens beside the agent at port {_listenPort} on {_options.DeviceName} and gets a part of its connections: end it (ss -lnp 'sport = {_listenPort}' names it)");
    }

    /// <returns>How many others listen there.</returns>
    private int KeepListenersToItself()
    {
        try
        {
            return _tcp!.KeepForItself() + _udp!.KeepForItself();
        }
        catch (IOException fault)
        {
            Say($"this kernel lets other programs of user {PeerCredentials.OwnUser} listen beside the agent ({fault.Message}); where containers on the host's network run as that user, choose a modules.edgeProxy.listenPort below 1024");
            return 0;
        }
        catch (ObjectDisposedException)
        {
            // The agent ends at this moment.
            return 0;
        }
    }

    /// <summary>Listens at the first port that can be had. A successor keeps the predecessor's, which no other user can have
    /// meanwhile, and listens when it has routes.</summary>
    private async Task<ImmutableSortedDictionary<IpFamily, InetEndpoint>> PrepareListenersAsync(long descriptors)
    {
        AgentStartException? first = null;
        foreach (var port in ListenPorts.InOrder(_options.Proxy.ListenPort, _predecessor is null ? null : PredecessorListensOn))
        {
            _listenPort = port;
            var listeners = ListenerAddresses.Listeners(_options.DeviceAddress, port, _ipv6OnDevice, [.. Enum.GetValues<IpFamily>()]);
            PrepareForwarding([.. listeners.Values], descriptors);
            try
            {
                if (_predecessor is null)
                    ListenAlone(port);
                if (port != _options.Proxy.ListenPort)
                    SayOtherPort(port);
                return listeners;
            }
            catch (AgentStartException fault)
            {
                first ??= fault;
                await _tcp!.DisposeAsync();
                if (_udp is not null)
                    await _udp.DisposeAsync();
                _metrics?.Dispose();
                (_udp, _metrics) = (null, null);
            }
        }

        throw first!;
    }

    private bool PredecessorListensOn(int port) => _predecessor!.ListenPort != 0
        ? _predecessor.ListenPort == port
        : BoundPorts.IsListenedOnByThisUser(new InetEndpoint(InetAddress.From(_options.DeviceAddress), (ushort)port));

    private void SayOtherPort(int port)
    {
        var configured = _options.Proxy.ListenPort;
        var notice = $"port {configured} on {_options.DeviceName} is held by {ListenPorts.HolderOf(configured, BoundPorts.List())}, so the agent listens on port {port}, and its rules lead there: a firewall that accepts port {configured} has to accept {port} too. Stop that program or choose another modules.edgeProxy.listenPort, and restart the agent";
        Say(notice);
    }

    private void Say(string notice)
    {
        if (_notices.Contains(notice))
            return;
        _notices = _notices.Add(notice);
        LogNotice(notice);
    }
}
