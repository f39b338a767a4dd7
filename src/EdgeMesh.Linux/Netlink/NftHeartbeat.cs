using EdgeMesh.Net;

namespace EdgeMesh.Linux.Netlink;

/// <summary>A set of type inet_proto with flag timeout.</summary>
public readonly record struct NftSetName(IpFamily Family, string Table, string Set);

/// <summary>Keeps the elements of an nf_tables set alive: each beat renews their time-out, and when the beats stop the
/// kernel removes them by itself, and with them every rule that asks <c>meta l4proto @alive</c>.</summary>
/// <remarks>A beat is handed to a thread of its own, because the kernel holds one lock during any nf_tables transaction
/// and a large one of somebody else would hold up the loop that beats. One write per beat at most: a loop that hangs
/// beats no more, and nothing is renewed on its behalf.</remarks>
public sealed class NftHeartbeat : IHeartbeat, IDisposable
{
    private static readonly TimeSpan LongestRenewal = TimeSpan.FromSeconds(30);

    private readonly NftAliveElements[] _sets;
    private readonly NftAliveElements[] _leases;
    private readonly TimeSpan _leaseRenewal;
    private readonly TimeProvider _time;
    private long? _leased;
    private readonly AutoResetEvent _beat = new(initialState: false);
    private readonly Thread _thread;
    private long _written;
    private long _failed;
    private volatile bool _stopping;
    private volatile NetlinkException? _lastFailure;
    private volatile Exception? _fault;
    private volatile bool _hasBeaten;

    /// <param name="sets">Written one after the other; one that fails does not keep the others from being renewed.</param>
    /// <param name="protocols">IP protocol numbers: 6 TCP, 17 UDP, 132 SCTP.</param>
    /// <param name="leases">Sets that are renewed twelve times in their time-out, or each 30 s.</param>
    /// <param name="leaseTimeout">The time-out of their elements.</param>
    public NftHeartbeat(
        IReadOnlyList<NftSetName> sets, IReadOnlyList<byte> protocols, TimeSpan timeout,
        IReadOnlyList<NftSetName>? leases = null, TimeSpan leaseTimeout = default, TimeProvider? time = null)
    {
        ArgumentNullException.ThrowIfNull(sets);
        _time = time ?? TimeProvider.System;
        _sets = [.. sets.Select(set => new NftAliveElements(set, protocols, timeout))];
        _leaseRenewal = leaseTimeout / 12 < LongestRenewal ? leaseTimeout / 12 : LongestRenewal;
        _leases = [.. (leases ?? []).Select(set => new NftAliveElements(set, protocols, leaseTimeout))];
        _thread = new Thread(Write) { IsBackground = true, Name = "nft-heartbeat" };
        _thread.Start();
    }

    /// <summary>Sets renewed so far.</summary>
    public long Written => Volatile.Read(ref _written);

    public long Failed => Volatile.Read(ref _failed);

    /// <summary>True once the kernel has renewed every set that there was.</summary>
    public bool HasBeaten => _hasBeaten;

    /// <summary>Why the last beat did not reach a set; null when it did. ENOENT: the table or the set is not there (yet).</summary>
    public NetlinkException? LastFailure => _lastFailure;

    /// <summary>Asks for one renewal. Never waits. Throws <see cref="IOException"/> when the kernel refused the one before;
    /// a table or set that does not exist yet is no fault.</summary>
    public void Beat()
    {
        if (_stopping)
            return;
        _beat.Set();
        if (_fault is { } fault)
            throw new IOException($"The heartbeat met with a fault of this program: {fault.Message}", fault);
        if (_lastFailure is { Errno: not NetlinkCalls.Enoent } failure)
            throw new IOException(failure.Message, failure);
    }

    public void Dispose()
    {
        if (_stopping)
            return;
        _stopping = true;
        _beat.Set();
        _thread.Join();
        foreach (var set in _sets.Concat(_leases))
            set.Dispose();
        _beat.Dispose();
    }

    private void Write()
    {
        while (true)
        {
            _beat.WaitOne();
            if (_stopping)
                return;
            try
            {
                RenewAll();
                _fault = null;
            }
            catch (Exception fault)
            {
                // Told to whoever beats next: a thread that ended here would let every rule lapse without a word.
                _fault = fault;
            }
        }
    }

    private void RenewAll()
    {
        NetlinkException? failure = null;
        var leaseIsDue = _leased is not { } before || _time.GetElapsedTime(before) >= _leaseRenewal;
        foreach (var set in leaseIsDue ? _sets.Concat(_leases) : _sets)
        {
            var errno = set.Renew();
            if (errno == 0)
            {
                Volatile.Write(ref _written, _written + 1);
                continue;
            }

            Volatile.Write(ref _failed, _failed + 1);
            // Made anew only when the cause changes: a set that is not there yet fails every second.
            failure = _lastFailure is { } last && last.Errno == errno
                ? last
                : new NetlinkException($"Renewing the heartbeat in set {set.Name.Set} of table {set.Name.Table}", errno);
        }

        if (leaseIsDue)
            _leased = failure is null ? _time.GetTimestamp() : null;
        _lastFailure = failure;
        _hasBeaten |= failure is null or { Errno: NetlinkCalls.Enoent };
    }
}

/// <summary>One nf_tables transaction that renews the time-out of a few elements, prepared once.</summary>
internal sealed class NftAliveElements : IDisposable
{
    private const int BatchBegin = 0x10;
    private const int BatchEnd = 0x11;
    private const int Subsystem = 10;
    private const int NewElement = (Subsystem << 8) | 12;
    private const int DeleteElement = (Subsystem << 8) | 14;

    private readonly NetlinkSocket _socket = NetlinkSocket.Open(NetlinkSocket.ProtocolNetfilter, TimeSpan.FromSeconds(2), bufferBytes: 8 * 1024);
    private readonly byte[] _batch;
    private readonly uint _sequence;

    internal NftAliveElements(NftSetName name, IReadOnlyList<byte> protocols, TimeSpan timeout)
    {
        Name = name;
        _sequence = _socket.NextSequence();
        var writer = new NetlinkWriter(stackalloc byte[2048]);
        Mark(ref writer, BatchBegin);
        // Adding an element that stands renews it only since 6.12, and deleting one that is gone is an error that fails
        // the batch. Add, delete, add works on every kernel, and being one transaction it leaves no gap.
        Elements(ref writer, NewElement, NetlinkSocket.FlagCreate, protocols, timeout);
        Elements(ref writer, DeleteElement, 0, protocols, timeout);
        Elements(ref writer, NewElement, NetlinkSocket.FlagCreate | NetlinkSocket.FlagAcknowledge, protocols, timeout);
        Mark(ref writer, BatchEnd);
        _batch = writer.Written.ToArray();
    }

    internal NftSetName Name { get; }

    /// <returns>0, or the error number.</returns>
    internal int Renew()
    {
        // An answer that came after an earlier deadline is not the answer to this request.
        while (_socket.Receive(out _, wait: false) == 0)
        {
        }

        return _socket.Request(_batch, _sequence);
    }

    public void Dispose() => _socket.Dispose();

    private void Mark(ref NetlinkWriter writer, int type)
    {
        writer.BeginMessage(type, NetlinkSocket.FlagRequest, _sequence);
        writer.NetfilterHeader(NetlinkCalls.AfUnspec, Subsystem);
        writer.EndMessage();
    }

    private void Elements(ref NetlinkWriter writer, int type, int flags, IReadOnlyList<byte> protocols, TimeSpan timeout)
    {
        writer.BeginMessage(type, NetlinkSocket.FlagRequest | flags, _sequence);
        writer.NetfilterHeader((int)Name.Family);
        writer.AttributeText(1, Name.Table);
        writer.AttributeText(2, Name.Set);
        var list = writer.BeginNest(3);
        foreach (var protocol in protocols)
        {
            var element = writer.BeginNest(1);
            var key = writer.BeginNest(1);
            writer.AttributeByte(1, protocol);
            writer.EndNest(key);
            if (type == NewElement)
                writer.AttributeNetwork64(4, (ulong)timeout.TotalMilliseconds);
            writer.EndNest(element);
        }

        writer.EndNest(list);
        writer.EndMessage();
    }
}
