using EdgeMesh.Linux;
using EdgeMesh.Linux.Sockets;
using Microsoft.Extensions.Logging;

namespace EdgeMesh.Forwarding;

internal sealed unsafe partial class ForwardingLoop
{
    private static ulong DataOf(Connection connection, bool isClient)
        => ((ulong)connection.Generation << 32) | ((uint)connection.Slot << 1) | (isClient ? 0u : 1u);

    private Connection Take(int descriptor, InetEndpoint client, LoopService service)
    {
        if (!_free.TryPop(out var connection))
        {
            if (_slotsUsed == _slots.Length)
                Array.Resize(ref _slots, _slots.Length * 2);
            connection = new Connection(_slotsUsed);
            _slots[_slotsUsed++] = connection;
        }

        connection.ClientDescriptor = descriptor;
        connection.Client = client;
        connection.Service = service;
        connection.StartedMilliseconds = _now;
        Counters.Active++;
        service.Connections++;
        service.Active++;
        return connection;
    }

    private void Release(Connection connection, ConnectionOutcome outcome)
    {
        _wheel.Remove(connection);
        if (connection.Dial is { } dial)
            EndDial(connection, dial);
        if (outcome == ConnectionOutcome.DialFailed)
        {
            Counters.Refused[(int)RefusalReason.AllEndpointsFailed]++;
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
            LogConnection(_context.Logger, connection.Service.Name, connection.Client, connection.Endpoint,
                connection.ToEndpoint.Bytes, connection.ToClient.Bytes, _now - connection.StartedMilliseconds, outcome);
        }

        Counters.Active--;
        connection.Service.Active--;
        Empty(ref connection.ToEndpoint);
        Empty(ref connection.ToClient);
        connection.HasTurn = false;
        // The highest generation would look like the loop's own events.
        connection.Generation = connection.Generation >= uint.MaxValue - 1 ? 0 : connection.Generation + 1;
        _free.Push(connection);
    }

    private void Empty(ref Flow flow)
    {
        if (flow.Pipe is not null)
            _resources.Return(flow.Pipe, isEmpty: flow.InPipe == 0);
        if (flow.Buffer is not null)
            _resources.Return(flow.Buffer);
        flow = default;
    }

    /// <summary>A fault of ours costs one connection, not the loop.</summary>
    private void Fault(Connection connection, Exception exception)
    {
        Counters.Faults++;
        LogFault(_context.Logger, connection.Service.Name, exception);
        if (connection.IsOpen)
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
