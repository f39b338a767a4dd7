using EdgeMesh.LibP2P.Yamux;

namespace EdgeMesh.LibP2P.Connections;

/// <summary>A connection whose bytes the host's driver moves.</summary>
public sealed partial class PeerConnection
{
    private ConnectionDrive? _drive;

    internal ConnectionDrive? Drive => _drive;

    private async Task DriveAsync(ConnectionDriver driver, NoiseStream noise)
    {
        var (plain, ahead) = noise.TakeAhead();
        var drive = new ConnectionDrive(this, _host, _session, noise.Session, plain, ahead);
        lock (Gate)
            _drive = drive;
        driver.Drive(noise.Transport, drive);
        await drive.Finished;
    }

    private void Deliver(StreamSink sink, in YamuxEvent happened)
    {
        switch (happened.Kind)
        {
            case YamuxEventKind.Acknowledged:
                _streamRoom.Set();
                sink.OnAcknowledged();
                break;
            case YamuxEventKind.Data:
                sink.OnData(happened.Data);
                break;
            case YamuxEventKind.Writable:
                sink.OnWritable();
                break;
            case YamuxEventKind.Ended:
                sink.OnEnded();
                AfterStream(happened.Stream!);
                break;
            case YamuxEventKind.Reset:
                sink.Lose();
                AfterStream(happened.Stream!);
                break;
        }
    }

    internal void NoteArrival() => _arrivedSincePing = true;

    internal void Forget(PeerStream stream) => _streams.Remove(stream);
}
