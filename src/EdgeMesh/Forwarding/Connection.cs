using System.Collections.Immutable;
using EdgeMesh.Catalog;
using EdgeMesh.Fairness;
using EdgeMesh.Linux;
using EdgeMesh.Linux.Sockets;
using EdgeMesh.Net;

namespace EdgeMesh.Forwarding;

/// <summary>How a connection ended, for the access record.</summary>
internal enum ConnectionOutcome
{
    Closed,
    ClientReset,
    EndpointReset,

    /// <summary>Closed for another: its client or service had more than its share of a limit.</summary>
    GaveWay,
    DialFailed,
    NoDescriptor,
    Cut,
    Fault,
}

/// <summary>One client and its endpoint. Pooled: one object per slot of a loop, reused. Owns both descriptors.</summary>
internal sealed class Connection(int slot) : ShareMember
{
    /// <summary>Place in the loop's table, for good.</summary>
    public readonly int Slot = slot;

    /// <summary>Goes up at every reuse, so that an event meant for the one before is told apart.</summary>
    public uint Generation;

    public int ClientDescriptor = -1;
    public int EndpointDescriptor = -1;

    public LoopService Service = null!;
    public InetEndpoint Client;
    public ServiceEndpoint Endpoint;
    public long StartedMilliseconds;

    /// <summary>Present until an endpoint has answered.</summary>
    public Dial? Dial;

    public Flow ToEndpoint;
    public Flow ToClient;

    /// <summary>The endpoint's socket no longer holds small writes back. Its first write never waits, and most short
    /// connections have no second one.</summary>
    public bool SendsAtOnce;

    /// <summary>This side has been reset: nothing can go to it any more. What it sent before is still passed on, and the reset
    /// behind it.</summary>
    public bool ClientGone;

    /// <inheritdoc cref="ClientGone"/>
    public bool EndpointGone;

    /// <summary>Everything is said but not everything delivered: it stays open until then.</summary>
    public bool IsDelivering;

    /// <summary>Bytes that had been delivered when it was last looked, and when that was less.</summary>
    public long Delivered;
    public long DeliveredAt;

    /// <summary>The kernel probes the endpoint when it is idle.</summary>
    public bool IsWatched;

    /// <summary>In the list of those that have more to do than their turn allowed.</summary>
    public bool HasTurn;

    // The timer wheel's links.
    public Connection? TimerNext;
    public Connection? TimerPrevious;
    public long TimerDeadline;
    public int TimerSlot = -1;

    public bool IsOpen => ClientDescriptor >= 0;
}

/// <summary>The bytes of one direction. An idle one holds no buffer and no pipe.</summary>
internal struct Flow
{
    public long Bytes;

    /// <summary>Read but not yet written, from <see cref="UnsentStart"/> on; null when there are none.</summary>
    public byte[]? Buffer;
    public int UnsentStart;
    public int UnsentEnd;

    /// <summary>Lent while it holds bytes.</summary>
    public Pipe? Pipe;
    public int InPipe;

    /// <summary>The source may have bytes or its end. Cleared when it is known to have none; an edge sets it again.</summary>
    public bool Readable;

    /// <summary>A short read does not mean empty: the end of the stream, an error or an urgent mark is behind it.</summary>
    public bool ReadOn;

    /// <summary>The end of the stream has arrived behind the bytes that are there, and no urgent mark: a short read has
    /// reached it.</summary>
    public bool EndBehind;

    /// <summary>The source has said that nothing more comes.</summary>
    public bool Ended;

    /// <summary>The end has been passed on: this direction is done.</summary>
    public bool Closed;

    /// <summary>The destination takes no more; an edge will tell.</summary>
    public bool Blocked;

    /// <summary>It was so once: the destination may be slow, and much may wait for it in the kernel.</summary>
    public bool WasBlocked;

    /// <summary>Large transfers go through a pipe.</summary>
    public bool Bulk;
}

/// <summary>The search for an endpoint that answers. Pooled: most connections need it for less than a millisecond.</summary>
internal sealed class Dial(int mostAttempts)
{
    private readonly ServiceEndpoint[] _tried = new ServiceEndpoint[mostAttempts];

    public Route Route = null!;
    public long StartedMicroseconds;
    public int Attempts;

    /// <summary>Worth another, longer try when no other endpoint is left.</summary>
    public ServiceEndpoint? TimedOut;

    public ReadOnlySpan<ServiceEndpoint> Tried => _tried.AsSpan(0, Attempts);

    public bool IsExhausted => Attempts == _tried.Length;

    public void Begin(Route route, long nowMicroseconds)
    {
        Route = route;
        StartedMicroseconds = nowMicroseconds;
        Attempts = 0;
        TimedOut = null;
    }

    public void Try(ServiceEndpoint endpoint) => _tried[Attempts++] = endpoint;
}
