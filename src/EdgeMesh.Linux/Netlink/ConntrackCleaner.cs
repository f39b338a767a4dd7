using EdgeMesh.Net;
using Microsoft.Extensions.Logging;

namespace EdgeMesh.Linux.Netlink;

public delegate bool ConntrackPredicate(in ConntrackFlow flow);

/// <param name="Scanned">Entries of the protocol that were looked at.</param>
/// <param name="Matched">Entries that were to go.</param>
/// <param name="Deleted">Entries that this call deleted; the rest of the matched had expired meanwhile.</param>
/// <param name="Failed">Entries that the kernel refused to delete.</param>
public readonly record struct ConntrackCleaning(int Scanned, int Matched, int Deleted, int Failed);

/// <summary>Deletes entries of the connection tracking table, so that what is pinned to an old choice is translated anew with its next
/// packet: UDP flows, and TCP connections that nobody has answered. An answered one is never touched: that would break it.</summary>
public sealed partial class ConntrackCleaner(ILogger<ConntrackCleaner> logger)
{
    private const int Attempts = 3;
    private const int DeletesPerSend = 32;
    private static readonly TimeSpan Deadline = TimeSpan.FromSeconds(10);
    private int _permissionReported;

    /// <summary>Deletes the UDP entries of both families for which <paramref name="isStale"/> holds. The table is
    /// streamed: memory does not grow with it. Without permission nothing is deleted, and it is logged once.</summary>
    /// <exception cref="NetlinkException">The kernel failed otherwise; what was deleted until then stays deleted.</exception>
    public Task<ConntrackCleaning> DeleteUdpAsync(ConntrackPredicate isStale, CancellationToken cancellationToken) =>
        Task.Run(() => DeleteUdp(isStale, cancellationToken), cancellationToken);

    /// <summary>As <see cref="DeleteUdpAsync"/>, of TCP: entries that have seen no answer.</summary>
    /// <exception cref="NetlinkException">As for UDP.</exception>
    public Task<ConntrackCleaning> DeleteUnansweredTcpAsync(ConntrackPredicate isStale, CancellationToken cancellationToken) =>
        Task.Run(() => DeleteUnansweredTcp(isStale, cancellationToken), cancellationToken);

    /// <summary>As <see cref="DeleteUdpAsync"/>, on the calling thread and in its network namespace.</summary>
    internal ConntrackCleaning DeleteUdp(ConntrackPredicate isStale, CancellationToken cancellationToken) =>
        Delete(new CleaningPass(TransportProtocol.Udp, isStale), "UDP", cancellationToken);

    /// <summary>As <see cref="DeleteUnansweredTcpAsync"/>, on the calling thread and in its network namespace.</summary>
    internal ConntrackCleaning DeleteUnansweredTcp(ConntrackPredicate isStale, CancellationToken cancellationToken) =>
        Delete(new CleaningPass(TransportProtocol.Tcp, (in ConntrackFlow flow) => !flow.IsAnswered && isStale(flow)), "unanswered TCP", cancellationToken);

    private ConntrackCleaning Delete(CleaningPass pass, string kind, CancellationToken cancellationToken)
    {
        try
        {
            pass.Run(ipv6: false, cancellationToken);
            pass.Run(ipv6: true, cancellationToken);
            var result = pass.Result;
            if (result.Matched > 0)
                LogCleaned(result.Deleted, result.Matched, kind, result.Scanned, result.Failed);
            return result;
        }
        catch (NetlinkException failure) when (failure.IsPermissionDenied)
        {
            if (Interlocked.Exchange(ref _permissionReported, 1) == 0)
                LogNoPermission(failure.Message);
            return default;
        }
    }

    private sealed class CleaningPass(TransportProtocol protocol, ConntrackPredicate isStale)
    {
        private int _scanned;
        private int _matched;
        private int _deleted;
        private int _failed;
        private int _pending;

        internal ConntrackCleaning Result => new(_scanned, _matched, _deleted, _failed);

        internal void Run(bool ipv6, CancellationToken cancellationToken)
        {
            var filter = true;
            for (var attempt = 1; ; attempt++)
            {
                var errno = Stream(ipv6, filter, out var interrupted, cancellationToken);
                if (errno is NetlinkCalls.Einval or NetlinkCalls.Eopnotsupp && filter)
                {
                    // Kernels that know CTA_FILTER but not this use of it: leave out by ourselves.
                    filter = false;
                    continue;
                }

                // ENOBUFS or an interrupted dump may have left entries out; a second look finds only those.
                var again = errno is NetlinkCalls.Enobufs || (errno == 0 && interrupted);
                if (again && attempt < Attempts)
                    continue;
                if (errno is 0 or NetlinkCalls.Eafnosupport)
                    return;
                throw new NetlinkException($"Reading the {(ipv6 ? "IPv6" : "IPv4")} connection tracking table", errno);
            }
        }

        private int Stream(bool ipv6, bool filter, out bool interrupted, CancellationToken cancellationToken)
        {
            using var reader = NetlinkSocket.Open(NetlinkSocket.ProtocolNetfilter, Deadline, bufferBytes: 64 * 1024);
            using var deleter = NetlinkSocket.Open(NetlinkSocket.ProtocolNetfilter, Deadline);
            reader.SetReceiveBuffer(1024 * 1024);
            interrupted = false;
            Span<byte> request = stackalloc byte[64];
            Span<byte> deletes = stackalloc byte[DeletesPerSend * 192];
            var writer = new NetlinkWriter(deletes);
            var sequence = reader.NextSequence();
            var errno = reader.Send(request[..ConntrackMessages.WriteDump(request, sequence, protocol, ipv6, filter)]);
            var done = false;
            while (errno == 0 && !done)
            {
                cancellationToken.ThrowIfCancellationRequested();
                errno = reader.Receive(out var data);
                var messages = new NetlinkMessages(data);
                while (errno == 0 && messages.MoveNext())
                {
                    if (messages.Sequence != sequence)
                        continue;
                    interrupted |= (messages.Flags & NetlinkMessages.FlagDumpInterrupted) != 0;
                    if (messages.Type is NetlinkMessages.TypeDone)
                        done = true;
                    else if (messages.Type is NetlinkMessages.TypeError)
                        errno = messages.Errno;
                    else if (ConntrackMessages.TryParse(messages.Payload, out var flow) && flow.Protocol == protocol)
                        errno = Judge(deleter, deletes, ref writer, flow);
                }
            }

            if (errno == 0)
                errno = Flush(deleter, deletes, ref writer);
            return errno;
        }

        private int Judge(NetlinkSocket deleter, Span<byte> deletes, ref NetlinkWriter writer, in ConntrackFlow flow)
        {
            _scanned++;
            if (!isStale(flow))
                return 0;
            _matched++;
            ConntrackMessages.WriteDelete(ref writer, deleter.NextSequence(), flow);
            return ++_pending == DeletesPerSend ? Flush(deleter, deletes, ref writer) : 0;
        }

        private int Flush(NetlinkSocket deleter, Span<byte> deletes, ref NetlinkWriter writer)
        {
            if (_pending == 0)
                return 0;
            var errno = deleter.Send(writer.Written);
            writer = new NetlinkWriter(deletes);
            if (errno != 0)
                return errno;
            _deleted += _pending;
            _pending = 0;
            // No acknowledgements were asked for, so only refusals wait, and all of them: nfnetlink works inside send(2).
            while (deleter.Receive(out var data, wait: false) == 0)
            {
                var messages = new NetlinkMessages(data);
                while (messages.MoveNext())
                {
                    if (messages.Type != NetlinkMessages.TypeError || messages.Errno == 0)
                        continue;
                    if (messages.Errno == NetlinkCalls.Eperm)
                        return NetlinkCalls.Eperm;
                    _deleted--;
                    if (messages.Errno != NetlinkCalls.Enoent)
                        _failed++;
                }
            }

            return 0;
        }
    }
}
