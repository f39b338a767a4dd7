using EdgeMesh.Net;

namespace EdgeMesh.Linux.Netlink;

public enum ConntrackAnswer
{
    Found,

    /// <summary>The kernel tracks no such flow (any more).</summary>
    NotTracked,

    /// <summary>The kernel did not answer: no permission, no ctnetlink, or too slow. <see cref="ConntrackLookup.LastErrno"/> says which.</summary>
    Unavailable,
}

/// <summary>Finds what a translated UDP flow asked for. One send and one receive per question, nothing allocated.
/// Belongs to one thread, and to the network namespace of the thread that opened it.</summary>
public sealed class ConntrackLookup : IDisposable
{
    // The kernel has queued its answer before send(2) returns, so this bound is never met on a healthy machine.
    private static readonly TimeSpan Deadline = TimeSpan.FromMilliseconds(50);

    private readonly NetlinkSocket _socket = NetlinkSocket.Open(NetlinkSocket.ProtocolNetfilter, Deadline, bufferBytes: 8 * 1024);

    /// <summary>Error number behind the last <see cref="ConntrackAnswer.Unavailable"/>; 1 (EPERM) means that CAP_NET_ADMIN is missing.</summary>
    public int LastErrno { get; private set; }

    /// <param name="listener">Where the datagram arrived; the source of the answers.</param>
    /// <param name="client">Who sent it, as seen at the listener.</param>
    /// <param name="original">What the client asked for before translation.</param>
    public ConntrackAnswer FindOriginalDestination(in InetEndpoint listener, in InetEndpoint client, out InetEndpoint original)
    {
        original = default;
        Span<byte> request = stackalloc byte[192];
        var sequence = _socket.NextSequence();
        var length = ConntrackMessages.WriteLookup(request, sequence, listener, client);
        var errno = _socket.Send(request[..length]);
        while (errno == 0)
        {
            errno = _socket.Receive(out var data);
            var messages = new NetlinkMessages(data);
            while (messages.MoveNext())
            {
                if (messages.Sequence != sequence)
                    continue;
                if (messages.Type != NetlinkMessages.TypeError)
                {
                    if (!ConntrackMessages.TryParse(messages.Payload, out var flow))
                        return Fail(NetlinkCalls.Einval);
                    original = flow.OriginalDestination;
                    return ConntrackAnswer.Found;
                }

                if (messages.Errno == NetlinkCalls.Enoent)
                    return ConntrackAnswer.NotTracked;
                return Fail(messages.Errno);
            }
        }

        return Fail(errno);
    }

    public void Dispose() => _socket.Dispose();

    private ConntrackAnswer Fail(int errno)
    {
        LastErrno = errno;
        return ConntrackAnswer.Unavailable;
    }
}
