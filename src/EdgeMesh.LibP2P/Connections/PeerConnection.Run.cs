using EdgeMesh.LibP2P.Yamux;
using Microsoft.Extensions.Logging;

namespace EdgeMesh.LibP2P.Connections;

public sealed partial class PeerConnection
{
    private const int Chunk = 64 * 1024;

    private bool _arrivedSincePing;

    /// <summary>Runs until the connection ends, and never throws.</summary>
    internal async Task RunAsync()
    {
        lock (Gate)
            _session.Ping();
        var watching = WatchAsync();
        var moving = _host.Options.Driver is { } driver && _upgraded.Stream is NoiseStream noise && driver.CanDrive(noise.Transport)
            ? DriveAsync(driver, noise)
            : Task.WhenAll(ReadAsync(), WriteAsync());
        await Task.WhenAll(moving, watching);
        await _upgraded.Stream.DisposeAsync();
        _session.Dispose();
        LogClosed(_host.Logger, RemotePeer, RemoteAddress, Failure!.Message);
        _closed.TrySetResult();
    }

    private async Task ReadAsync()
    {
        try
        {
            var buffer = new byte[Chunk];
            while (true)
            {
                var count = await _upgraded.Stream.ReadAsync(buffer, _closing.Token);
                if (count == 0)
                    throw new IOException("the peer closed the connection");
                lock (Gate)
                {
                    if (Failure is not null)
                        return;
                    _arrivedSincePing = true;
                    Receive(buffer.AsSpan(0, count));
                    WakeWriter();
                }
            }
        }
        catch (Exception e)
        {
            Fail(e, goodbye: e is PeerProtocolException);
        }
    }

    internal void Receive(Span<byte> input)
    {
        while (_session.TryReceive(ref input, out var happened))
        {
            if (happened.Stream?.Tag is StreamSink sink)
            {
                Deliver(sink, happened);
                continue;
            }

            var stream = happened.Stream?.Tag as PeerStream;
            switch (happened.Kind)
            {
                case YamuxEventKind.Opened:
                    if (!happened.Stream!.IsGone && _drive?.TryTake(happened.Stream) != true)
                        _host.Serve(Add(happened.Stream));
                    break;
                case YamuxEventKind.Acknowledged:
                    _streamRoom.Set();
                    break;
                case YamuxEventKind.Data when stream?.Receive(happened.Data) == false:
                    Reset(stream);
                    break;
                case YamuxEventKind.Writable:
                    stream?.WindowOpened();
                    break;
                case YamuxEventKind.Ended:
                    stream?.End();
                    AfterStream(happened.Stream!);
                    break;
                case YamuxEventKind.Reset:
                    stream?.Lose();
                    AfterStream(happened.Stream!);
                    break;
                case YamuxEventKind.GoAway when happened.Code != 0:
                    throw new IOException($"the peer ended the session with code {happened.Code}");
                case YamuxEventKind.GoAway:
                    _streamRoom.Set();
                    break;
            }
        }
    }

    private async Task WriteAsync()
    {
        try
        {
            var buffer = new byte[Chunk * 2];
            while (true)
            {
                Task? wait = null;
                var count = 0;
                lock (Gate)
                {
                    if (_session.Output.Count > 0)
                    {
                        count = _session.Output.Take(buffer);
                        SendRoom.Set();
                    }
                    else if (Failure is not null)
                    {
                        return;
                    }
                    else
                    {
                        wait = _outputReady.Wait();
                    }
                }

                if (wait is not null)
                {
                    await wait;
                    continue;
                }

                // After a failure only the good-bye is left; it gets a moment, not more.
                using var deadline = Deadline.After(_host.Options.WriteTimeout, _host.Options.Time, CancellationToken.None);
                await _upgraded.Stream.WriteAsync(buffer.AsMemory(0, count), deadline.Token);
                await _upgraded.Stream.FlushAsync(deadline.Token);
            }
        }
        catch (Exception e)
        {
            Fail(e, goodbye: false);
        }
    }

    /// <summary>Asks for a sign of life in each period, and gives up when nothing has arrived since the last one: on a slow
    /// link the answer itself may wait behind megabytes that are on their way.</summary>
    private async Task WatchAsync()
    {
        try
        {
            using var timer = new PeriodicTimer(_host.Options.KeepAlive, _host.Options.Time);
            while (await timer.WaitForNextTickAsync(_closing.Token))
            {
                lock (Gate)
                {
                    if (_session.IsPingPending && !_arrivedSincePing)
                        throw new TimeoutException($"the peer gave no sign of life for {_host.Options.KeepAlive.TotalSeconds} s");
                    _arrivedSincePing = false;
                    _session.Ping();
                    WakeWriter();
                }
            }
        }
        catch (Exception e)
        {
            Fail(e, goodbye: false);
        }
    }

    internal void Fail(Exception reason, bool goodbye)
    {
        lock (Gate)
        {
            if (Failure is not null)
                return;
            if (goodbye && _session.Output.Room >= 64)
                _session.GoAway(reason is PeerProtocolException ? 1u : 0u);
            Failure = reason;
            foreach (var stream in _streams)
                stream.Lose();
            _streams.Clear();
            SendRoom.Set();
            _streamRoom.Set();
            _outputReady.Set();
            _drive?.Wake();
        }

        _closing.Cancel();
    }

    [LoggerMessage(5000, LogLevel.Debug, "The connection to {Peer} at {Address} ended: {Reason}")]
    private static partial void LogClosed(ILogger logger, Addresses.PeerId peer, Addresses.Multiaddr? address, string reason);
}
