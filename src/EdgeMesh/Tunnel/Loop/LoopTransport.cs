using System.Runtime.InteropServices;
using EdgeMesh.LibP2P.Connections;
using EdgeMesh.Linux.Sockets;

namespace EdgeMesh.Tunnel.Loop;

/// <summary>A TCP connection of the loop, read and written asynchronously until its session takes it over. A socket of
/// System.Net would stay registered with that library's own epoll thread, which every packet would wake.</summary>
internal sealed class LoopTransport : AsyncOnlyStream, ISocketOwner
{
    private readonly SafeHandle _handle;
    private readonly Lock _gate = new();
    private TaskCompletionSource? _changed;
    private int _slot = -1;
    private bool _closed;

    /// <param name="loop">Whose thread watches it.</param>
    /// <param name="handle">The socket, non-blocking; owned from here on.</param>
    public LoopTransport(TunnelLoop loop, SafeHandle handle)
    {
        Loop = loop;
        _handle = handle;
        Descriptor = (int)handle.DangerousGetHandle();
        Loop.Post(Register, OnFault);
    }

    public TunnelLoop Loop { get; }

    public int Descriptor { get; }

    public void OnReady(EpollEvents events) => Change();

    public void OnFault(Exception exception) => Close();

    /// <summary>Until the connection is made.</summary>
    /// <exception cref="IOException">It was refused, or could not be made.</exception>
    public async Task ConnectedAsync(CancellationToken cancellationToken)
    {
        while (true)
        {
            var wait = Wait();
            using (Hold())
            {
                if (TcpSocket.TakeError(Descriptor) is var error and not 0)
                    throw new IOException(Errno.Describe(error));
                if (TcpSocket.IsConnected(Descriptor))
                    return;
            }

            await wait.WaitAsync(cancellationToken);
        }
    }

    public override async ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default)
    {
        while (true)
        {
            var wait = Wait();
            var count = Receive(buffer.Span);
            if (count >= 0)
                return count;
            if (count != -Errno.EAGAIN)
                throw new IOException(Errno.Describe(-count));
            await wait.WaitAsync(cancellationToken);
        }
    }

    public override async ValueTask WriteAsync(ReadOnlyMemory<byte> buffer, CancellationToken cancellationToken = default)
    {
        while (!buffer.IsEmpty)
        {
            var wait = Wait();
            var count = Send(buffer.Span);
            if (count >= 0)
                buffer = buffer[count..];
            else if (count == -Errno.EAGAIN)
                await wait.WaitAsync(cancellationToken);
            else
                throw new IOException(Errno.Describe(-count));
        }
    }

    /// <summary>On the loop's thread: events go to <paramref name="owner"/> from here on. False if it is closed already.</summary>
    public bool TryPassTo(ISocketOwner owner)
    {
        if (_closed || _slot < 0)
            return false;
        Loop.Reassign(_slot, owner);
        return true;
    }

    /// <summary>On the loop's thread.</summary>
    public new void Close()
    {
        if (_closed)
            return;
        _closed = true;
        if (_slot >= 0)
            Loop.Unregister(_slot);
        _handle.Dispose();
        Change();
    }

    protected override void Dispose(bool disposing)
    {
        if (disposing)
            Loop.Post(Close, OnFault);
        base.Dispose(disposing);
    }

    private void Register()
    {
        if (_closed)
            return;
        _slot = Loop.Register(Descriptor, this);
        if (_slot < 0)
            Close();
    }

    private unsafe int Receive(Span<byte> buffer)
    {
        using var held = Hold();
        fixed (byte* start = buffer)
            return TcpSocket.Receive(Descriptor, start, buffer.Length);
    }

    private unsafe int Send(ReadOnlySpan<byte> buffer)
    {
        using var held = Hold();
        fixed (byte* start = buffer)
            return TcpSocket.Send(Descriptor, start, buffer.Length);
    }

    /// <summary>While it is held, the number is this socket's: closing waits.</summary>
    /// <exception cref="IOException">It is closed.</exception>
    private Held Hold()
    {
        try
        {
            return new Held(_handle);
        }
        catch (ObjectDisposedException e)
        {
            throw new IOException("the connection was closed", e);
        }
    }

    /// <summary>Completes at the next change of the socket. To be taken before the call that may find nothing.</summary>
    private Task Wait()
    {
        lock (_gate)
            return (_changed ??= new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously)).Task;
    }

    private void Change()
    {
        TaskCompletionSource? changed;
        lock (_gate)
            (changed, _changed) = (_changed, null);
        changed?.TrySetResult();
    }

    private readonly ref struct Held
    {
        private readonly SafeHandle _handle;

        public Held(SafeHandle handle)
        {
            var added = false;
            handle.DangerousAddRef(ref added);
            _handle = handle;
        }

        public void Dispose() => _handle.DangerousRelease();
    }
}
