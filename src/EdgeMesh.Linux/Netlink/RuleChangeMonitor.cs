using System.Runtime.InteropServices;
using System.Text;
using System.Threading.Channels;

namespace EdgeMesh.Linux.Netlink;

/// <summary>Which changes of the packet filter are of interest.</summary>
public sealed record RuleWatch
{
    /// <summary>By table of iptables, in the families ip and ip6: the chains in which a rule of anybody may change the order, or take ours away.</summary>
    public IReadOnlyDictionary<string, IReadOnlyList<string>> HookChains { get; init; } = new Dictionary<string, IReadOnlyList<string>>
    {
        ["nat"] = ["PREROUTING", "OUTPUT", "POSTROUTING"],
        ["filter"] = ["INPUT", "FORWARD"],
    };

    /// <summary>Prefixes of chains in the tables of <see cref="HookChains"/> that are watched whole.</summary>
    public IReadOnlyList<string> ChainPrefixes { get; init; } = [];

    /// <summary>Native tables that are watched whole, elements of sets and maps excepted.</summary>
    public IReadOnlyList<string> Tables { get; init; } = [];

    /// <summary>Whether the netlink socket of this address is ours: what it changes is not reported. The kernel gives the first
    /// socket of a process the process's id as its address, unless somebody in another PID namespace has it.
    /// Called on the monitor's thread.</summary>
    public Func<uint, bool> IsOwn { get; init; } = _ => false;
}

[Flags]
public enum RuleChanges
{
    None = 0,

    /// <summary>A rule of a hook chain, or a hook chain itself, came or went.</summary>
    HookChain = 1,

    /// <summary>A watched chain, or a rule in it, came or went.</summary>
    WatchedChain = 2,

    /// <summary>Something in a watched native table changed.</summary>
    WatchedTable = 4,

    /// <summary>A table of hook chains itself came or went.</summary>
    HookTable = 8,

    /// <summary>Changes came faster than they were read; anything may have changed.</summary>
    Lost = 16,
}

/// <summary>Learns from the kernel when nf_tables rules change (iptables on the nft backend, and native nft), and wakes
/// only for what <see cref="RuleWatch"/> names. iptables-legacy sends no events: see <see cref="LegacyTable"/>.</summary>
/// <remarks>One thread, asleep in poll(2) until the kernel has something to say. It watches the network namespace of the
/// thread that starts it.</remarks>
public sealed class RuleChangeMonitor : IDisposable
{
    private const int GroupNftables = 7;
    private const int ReceiveBuffer = 4 * 1024 * 1024;
    private const int MostTouchedChains = 32;

    private readonly NetlinkSocket _socket;
    private readonly NetlinkHandle _stop;
    private readonly Thread _thread;
    private readonly RuleChangeParser _parser;
    private readonly Func<uint, bool> _isOwn;
    private readonly Lock _gate = new();
    private readonly HashSet<string> _touched = new(StringComparer.Ordinal);
    private readonly Channel<byte> _signal = Channel.CreateBounded<byte>(
        new BoundedChannelOptions(1) { FullMode = BoundedChannelFullMode.DropWrite, SingleReader = true });

    private int _pending;
    private long _messages;

    private RuleChangeMonitor(NetlinkSocket socket, NetlinkHandle stop, RuleWatch watch)
    {
        _socket = socket;
        _stop = stop;
        _parser = new RuleChangeParser(watch);
        _isOwn = watch.IsOwn;
        _thread = new Thread(Listen) { IsBackground = true, Name = "rule-monitor" };
    }

    /// <summary>Rule messages read so far; for metrics.</summary>
    public long Messages => Volatile.Read(ref _messages);

    /// <exception cref="NetlinkException">The kernel has no nf_tables, or the process may not listen.</exception>
    public static RuleChangeMonitor Start(RuleWatch watch)
    {
        ArgumentNullException.ThrowIfNull(watch);
        var socket = NetlinkSocket.Open(NetlinkSocket.ProtocolNetfilter, TimeSpan.FromSeconds(1), bufferBytes: 64 * 1024);
        try
        {
            socket.SetReceiveBuffer(ReceiveBuffer);
            SetElementFilter.Attach(socket);
            socket.JoinGroup(GroupNftables, "Subscribing to changes of nf_tables rules");
            // EFD_CLOEXEC
            var stop = NetlinkCalls.EventDescriptor(0, 0x80000);
            if (stop.IsInvalid)
                throw new NetlinkException("Creating an event descriptor", Marshal.GetLastPInvokeError());
            var monitor = new RuleChangeMonitor(socket, stop, watch);
            monitor._thread.Start();
            return monitor;
        }
        catch
        {
            socket.Dispose();
            throw;
        }
    }

    /// <summary>Waits until something watched has changed since the last call, and says what. One caller at a time;
    /// debouncing is the caller's affair.</summary>
    /// <exception cref="ChannelClosedException">The monitor has ended by the fault inside.</exception>
    public async ValueTask<RuleChanges> WaitAsync(CancellationToken cancellationToken)
    {
        while (true)
        {
            await _signal.Reader.ReadAsync(cancellationToken).ConfigureAwait(false);
            var changes = (RuleChanges)Interlocked.Exchange(ref _pending, 0);
            if (changes != RuleChanges.None)
                return changes;
        }
    }

    /// <summary>Names of watched chains that somebody touched since the last call. At most 32; when there were more, which
    /// <see cref="RuleChanges.Lost"/> says, anything may have been touched.</summary>
    public IReadOnlyList<string> TakeTouchedChains()
    {
        lock (_gate)
        {
            if (_touched.Count == 0)
                return [];
            string[] touched = [.. _touched];
            _touched.Clear();
            return touched;
        }
    }

    public unsafe void Dispose()
    {
        if (_stop.IsClosed)
            return;
        ulong one = 1;
        NetlinkCalls.Write(_stop, &one, sizeof(ulong));
        _thread.Join();
        _stop.Dispose();
        _socket.Dispose();
        _signal.Writer.TryComplete();
    }

    /// <summary>A fault of this thread is the waiting caller's: it may begin another monitor.</summary>
    private void Listen()
    {
        try
        {
            Watch();
        }
        catch (Exception fault)
        {
            _signal.Writer.TryComplete(fault);
        }
    }

    private unsafe void Watch()
    {
        var descriptors = stackalloc NetlinkCalls.PollFd[2];
        descriptors[0] = new NetlinkCalls.PollFd { Descriptor = (int)_socket.Handle.DangerousGetHandle(), Events = NetlinkCalls.PollIn };
        descriptors[1] = new NetlinkCalls.PollFd { Descriptor = (int)_stop.DangerousGetHandle(), Events = NetlinkCalls.PollIn };
        while (true)
        {
            if (NetlinkCalls.Poll(descriptors, 2, -1) < 0)
            {
                // A signal; with anything else the next call would fail as quickly, and go on doing so.
                if (Marshal.GetLastPInvokeError() is not (NetlinkCalls.Eintr or 0) and var errno)
                    throw new NetlinkException("Waiting for changes of nf_tables rules", errno);
                continue;
            }

            if (descriptors[1].Returned != 0)
                return;
            var changes = Drain();
            if (changes == RuleChanges.None)
                continue;
            Interlocked.Or(ref _pending, (int)changes);
            _signal.Writer.TryWrite(0);
        }
    }

    /// <returns>False when no more names can be kept.</returns>
    private bool Touch(ReadOnlySpan<byte> chain)
    {
        lock (_gate)
        {
            if (_touched.Count < MostTouchedChains)
            {
                _touched.Add(Encoding.UTF8.GetString(chain));
                return true;
            }

            return _touched.Contains(Encoding.UTF8.GetString(chain));
        }
    }

    private RuleChanges Drain()
    {
        var changes = RuleChanges.None;
        while (true)
        {
            var errno = _socket.Receive(out var data, wait: false);
            if (errno == NetlinkCalls.Enobufs)
                changes |= RuleChanges.Lost;
            else if (errno != 0)
                return changes;
            var messages = new NetlinkMessages(data);
            while (messages.MoveNext())
            {
                Volatile.Write(ref _messages, _messages + 1);
                var change = _parser.Parse(messages.Type, messages.Payload, out var chain);
                if (change == RuleChanges.None || _isOwn(messages.Sender))
                    continue;
                changes |= change;
                if ((change & (RuleChanges.WatchedChain | RuleChanges.WatchedTable)) != RuleChanges.None && !chain.IsEmpty && !Touch(chain))
                    changes |= RuleChanges.Lost;
            }
        }
    }
}

/// <summary>Tells from one nf_tables event whether it is watched. Looks at table and chain names only and allocates
/// nothing, so that thousands of events of a kube-proxy sync cost microseconds each.</summary>
internal sealed class RuleChangeParser(RuleWatch watch)
{
    private const int SubsystemNftables = 10;
    private const int NewTable = 0;
    private const int DeleteTable = 2;
    private const int NewChain = 3;
    private const int DeleteChain = 5;
    private const int NewRule = 6;
    private const int DeleteRule = 8;
    private const int NewSetElement = 12;
    private const int DeleteSetElement = 14;
    private const int NewGeneration = 15;
    private const int Trace = 17;

    private readonly (byte[] Table, byte[][] Chains)[] _hooks = [.. watch.HookChains.Select(hook => (Encoding.UTF8.GetBytes(hook.Key), hook.Value.Select(Encoding.UTF8.GetBytes).ToArray()))];
    private readonly byte[][] _prefixes = [.. watch.ChainPrefixes.Select(Encoding.UTF8.GetBytes)];
    private readonly byte[][] _tables = [.. watch.Tables.Select(Encoding.UTF8.GetBytes)];

    internal RuleChanges Parse(int type, ReadOnlySpan<byte> payload) => Parse(type, payload, out _);

    /// <param name="chain">The chain that the event speaks of; empty where it speaks of none.</param>
    internal RuleChanges Parse(int type, ReadOnlySpan<byte> payload, out ReadOnlySpan<byte> chain)
    {
        chain = default;
        if (type >> 8 != SubsystemNftables || payload.Length < 4)
            return RuleChanges.None;
        var operation = type & 0xFF;
        if (operation is NewSetElement or DeleteSetElement or NewGeneration or Trace)
            return RuleChanges.None;
        int family = payload[0];
        ReadOnlySpan<byte> table = default;
        var chainAttribute = operation is NewRule or DeleteRule ? 2 : 3;
        var namesChain = operation is NewChain or DeleteChain or NewRule or DeleteRule;
        var attributes = new NetlinkAttributes(payload[4..]);
        while (attributes.MoveNext())
        {
            if (attributes.Type == 1)
                table = attributes.TextBytes;
            else if (namesChain && attributes.Type == chainAttribute)
                chain = attributes.TextBytes;
            if (!table.IsEmpty && (!namesChain || !chain.IsEmpty))
                break;
        }

        if (Contains(_tables, table))
            return RuleChanges.WatchedTable;
        if (family is not (NetlinkCalls.AfInet or NetlinkCalls.AfInet6) || HookChains(table) is not { } hookChains)
            return RuleChanges.None;
        if (operation is NewTable or DeleteTable)
            return RuleChanges.HookTable;
        if (!namesChain)
            return RuleChanges.None;
        if (Contains(hookChains, chain))
            return RuleChanges.HookChain;
        foreach (var prefix in _prefixes)
        {
            if (chain.StartsWith(prefix))
                return RuleChanges.WatchedChain;
        }

        return RuleChanges.None;
    }

    private byte[][]? HookChains(ReadOnlySpan<byte> table)
    {
        foreach (var hook in _hooks)
        {
            if (table.SequenceEqual(hook.Table))
                return hook.Chains;
        }

        return null;
    }

    private static bool Contains(byte[][] names, ReadOnlySpan<byte> name)
    {
        foreach (var candidate in names)
        {
            if (name.SequenceEqual(candidate))
                return true;
        }

        return false;
    }
}
