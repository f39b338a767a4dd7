using System.Net.Sockets;
using System.Text;
using EdgeMesh.Linux;
using EdgeMesh.Linux.Sockets;

namespace EdgeMesh.Agent.Hosting.Handover;

/// <summary>A connection between two agents of one node: short lines of text, each with a deadline. Owns the socket.</summary>
internal sealed class HandoverLine(Socket socket, TimeProvider time) : IDisposable
{
    /// <summary>Longer lines end the conversation.</summary>
    private const int LongestLine = 256;

    private readonly byte[] _buffer = new byte[LongestLine];
    private int _length;
    private List<DescriptorHandle>? _descriptors;

    /// <summary>For people only: who may take over is told by the knock.</summary>
    public PeerCredentials Peer
    {
        get
        {
            try
            {
                return PeerCredentials.Of(socket);
            }
            catch (SocketException)
            {
                return new PeerCredentials(0, uint.MaxValue);
            }
        }
    }

    /// <summary>True once the other has ended, as opposed to being silent.</summary>
    public bool IsGone { get; private set; }

    /// <returns>The next line without its end; null when the other has gone, says too much, or says nothing until the deadline.</returns>
    public async Task<string?> ReadAsync(TimeSpan deadline, CancellationToken cancellationToken)
    {
        using var limit = new CancellationTokenSource(deadline, time);
        using var either = CancellationTokenSource.CreateLinkedTokenSource(limit.Token, cancellationToken);
        try
        {
            while (true)
            {
                if (TakeLine() is { } line)
                    return line;
                if (_length == LongestLine)
                    return null;
                var read = await ReceiveAsync(either.Token);
                if (read == 0)
                {
                    IsGone = true;
                    return null;
                }

                _length += read;
            }
        }
        catch (OperationCanceledException) when (!cancellationToken.IsCancellationRequested)
        {
            return ReadAfterDeadline();
        }
        catch (Exception fault) when (IsEnd(fault, cancellationToken))
        {
            IsGone |= fault is SocketException;
            return null;
        }
    }

    private async ValueTask<int> ReceiveAsync(CancellationToken cancellationToken)
    {
        if (_descriptors is null)
            return await socket.ReceiveAsync(_buffer.AsMemory(_length), cancellationToken);
        // The runtime has no call that takes descriptors; this waits for something to be there.
        await socket.ReceiveAsync(_buffer.AsMemory(_length, 1), SocketFlags.Peek, cancellationToken);
        return TakeWithDescriptors();
    }

    private int TakeWithDescriptors()
    {
        var read = DescriptorPassing.Receive(socket.SafeHandle, _buffer.AsSpan(_length), _descriptors!);
        return read >= 0 ? read : throw new SocketException((int)SocketError.ConnectionReset);
    }

    /// <summary>Sends descriptors beside a line, which stay the caller's to close.</summary>
    /// <returns>False when the other has gone, or does not read.</returns>
    public bool Write(string line, ReadOnlySpan<int> descriptors)
    {
        try
        {
            var bytes = Encoding.UTF8.GetBytes(line + "\n");
            return DescriptorPassing.Send(socket.SafeHandle, bytes, descriptors) == bytes.Length;
        }
        catch (ObjectDisposedException)
        {
            return false;
        }
    }

    /// <summary>From now on the descriptors that come with what is read are kept in the list, each the caller's to close. Until then the
    /// kernel closes them: only an agent that has shown the right to be one is to fill this process's table.</summary>
    public void KeepDescriptors(List<DescriptorHandle> descriptors) => _descriptors = descriptors;

    /// <summary>A process that was stopped finds its deadline passed and the answer there.</summary>
    private string? ReadAfterDeadline()
    {
        try
        {
            if (socket.Available > 0 && _length < LongestLine)
                _length += _descriptors is null ? socket.Receive(_buffer.AsSpan(_length)) : TakeWithDescriptors();
        }
        catch (Exception fault) when (fault is SocketException or ObjectDisposedException)
        {
            IsGone |= fault is SocketException;
        }

        return TakeLine();
    }

    private string? TakeLine()
    {
        var end = _buffer.AsSpan(0, _length).IndexOf((byte)'\n');
        if (end < 0)
            return null;
        var line = Encoding.UTF8.GetString(_buffer, 0, end);
        _length -= end + 1;
        _buffer.AsSpan(end + 1, _length).CopyTo(_buffer);
        return line;
    }

    /// <returns>False when the other has gone.</returns>
    public async Task<bool> WriteAsync(string line, CancellationToken cancellationToken)
    {
        try
        {
            // A line fits into the socket's buffer, so this does not wait for the other.
            await socket.SendAsync(Encoding.UTF8.GetBytes(line + "\n"), cancellationToken);
            return true;
        }
        catch (Exception fault) when (IsEnd(fault, cancellationToken))
        {
            IsGone |= fault is SocketException;
            return false;
        }
    }

    /// <summary>Completes when the other has gone.</summary>
    public async Task GoneAsync(CancellationToken cancellationToken)
    {
        while (await ReadAsync(Timeout.InfiniteTimeSpan, cancellationToken) is not null)
        {
        }
    }

    public void Dispose() => socket.Dispose();

    private static bool IsEnd(Exception fault, CancellationToken cancellationToken) =>
        fault is SocketException or ObjectDisposedException || (fault is OperationCanceledException && !cancellationToken.IsCancellationRequested);
}
