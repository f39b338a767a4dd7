using System.Net.Sockets;
using System.Text;
using EdgeMesh.Linux;

namespace EdgeMesh.Agent.Hosting.Handover;

/// <summary>A connection between two agents of one node: short lines of text, each with a deadline. Owns the socket.</summary>
internal sealed class HandoverLine(Socket socket, TimeProvider time) : IDisposable
{
    /// <summary>Longer lines end the conversation.</summary>
    private const int LongestLine = 256;

    private readonly byte[] _buffer = new byte[LongestLine];
    private int _length;

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
                var read = await socket.ReceiveAsync(_buffer.AsMemory(_length), either.Token);
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

    /// <summary>A process that was stopped finds its deadline passed and the answer there.</summary>
    private string? ReadAfterDeadline()
    {
        try
        {
            if (socket.Available > 0 && _length < LongestLine)
                _length += socket.Receive(_buffer.AsSpan(_length));
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
