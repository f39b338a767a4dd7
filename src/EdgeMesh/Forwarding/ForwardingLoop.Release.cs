using EdgeMesh.Linux;
using EdgeMesh.Linux.Sockets;
using EdgeMesh.Net;
using Microsoft.Extensions.Logging;

namespace EdgeMesh.Forwarding;

internal sealed unsafe partial class ForwardingLoop
{
    private static ulong DataOf(Connection connection, bool isClient)
        => ((ulong)connection.Generation << 32) | ((uint)connection.Slot << 1) | (isClient ? 0u : 1u);

    private Connection Take(int descriptor, InetEndpoint client, LoopService service)
    {
        service.Connections++;
        return Place(descriptor, client, service);
    }

    private Connection Place(int descriptor, InetEndpoint client, LoopService service)
    {
        if (!_free.TryPop(out var connection))
        {
            if (!_freeSlots.TryPop(out var slot))
            {
                if (_slotsUsed == _slots.Length)
                    Array.Resize(ref _slots, _slots.Length * 2);
                slot = _slotsUsed++;
            }

            connection = _slots[slot] = new Connection(slot);
        }

        // The highest would look like the loop's own events.
        _generation = _generation >= uint.MaxValue - 1 ? 0 : _generation + 1;
        connection.Generation = _generation;
        connection.ClientDescriptor = descriptor;
        connection.Client = client;
        connection.Service = service;
        connection.StartedMilliseconds = _now;
        connection.LastActive = _now;
        _shares.Enter(connection, client.Address, service.Share);
        Counters.Active++;
        service.Active++;
        return connection;
    }

    private void Release(Connection connection, ConnectionOutcome outcome)
    {
        _wheel.Remove(connection);
        if (connection.Dial is { } dial)
            EndDial(connection, dial);
        if (outcome is ConnectionOutcome.DialFailed or ConnectionOutcome.NoDescriptor)
        {
            var reason = outcome == ConnectionOutcome.DialFailed ? RefusalReason.AllEndpointsFailed : RefusalReason.DescriptorLimit;
            Counters.Refused[(int)reason]++;
            connection.Service.Failed++;
        }

        if (outcome == ConnectionOutcome.Closed)
            TcpSocket.Close(connection.ClientDescriptor);
        else
            TcpSocket.Abort(connection.ClientDescriptor);
        connection.ClientDescriptor = -1;
        if (connection.EndpointDescriptor >= 0)
        {
            if (outcome == ConnectionOutcome.Closed)
                TcpSocket.Close(connection.EndpointDescriptor);
            else
                TcpSocket.Abort(connection.EndpointDescriptor);
            connection.EndpointDescriptor = -1;
        }

        if (_context.Logger.IsEnabled(LogLevel.Debug))
        {
            LogConnection(_context.Logger, connection.Service.Name, connection.Client, connection.Endpoint.Address,
                connection.ToEndpoint.Bytes, connection.ToClient.Bytes, _now - connection.StartedMilliseconds, outcome);
        }

        Forget(connection);
    }

    /// <summary>The object goes back to its pool; it owns no descriptor any more.</summary>
    private void Forget(Connection connection)
    {
        Counters.Active--;
        connection.Service.Active--;
        Empty(connection, ref connection.ToEndpoint);
        Empty(connection, ref connection.ToClient);
        _shares.Leave(connection);
        if (connection.IsDelivering)
            _delivering--;
        connection.HasTurn = connection.SendsAtOnce = connection.IsWatched = false;
        connection.ClientGone = connection.EndpointGone = connection.IsDelivering = false;
        // After a flood the objects go, and only their places are kept.
        if (_free.Count < KeptConnections)
        {
            _free.Push(connection);
        }
        else
        {
            _slots[connection.Slot] = null;
            _freeSlots.Push(connection.Slot);
        }
    }

    private void Empty(Connection connection, ref Flow flow)
    {
        if (flow.Pipe is not null)
        {
            _resources.Return(flow.Pipe, isEmpty: flow.InPipe == 0);
            connection.OfClient!.Pipes--;
        }

        if (flow.Buffer is not null)
            _resources.Return(flow.Buffer);
        flow = default;
    }

    /// <summary>A fault of ours costs one connection, not the loop.</summary>
    /// <param name="connection">Null: none stood yet.</param>
    private void Fault(Connection? connection, Exception exception)
    {
        Counters.Faults++;
        if (_context.Supervisor is { } supervisor)
            supervisor.Report(LoopName, exception);
        else
            LogFault(_context.Logger, connection?.Service.Name, exception);
        if (connection is { IsOpen: true })
            Release(connection, ConnectionOutcome.Fault);
    }

    private int CutAll()
    {
        var cut = 0;
        for (var i = 0; i < _slotsUsed; i++)
        {
            if (_slots[i] is not { IsOpen: true } connection)
                continue;
            Release(connection, ConnectionOutcome.Cut);
            cut++;
        }

        return cut;
    }
}
