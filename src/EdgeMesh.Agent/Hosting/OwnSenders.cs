namespace EdgeMesh.Agent.Hosting;

/// <summary>Netlink addresses of whoever changes rules on our behalf: the ids of the processes that we started last, which
/// the kernel takes as the address of a process's first socket. Without it every sync of ours would be followed by a look at
/// what the sync had just written, which at 10,000 services takes longer than the sync.</summary>
/// <remarks>Few and short-lived, so that a process of another PID namespace with the same id is taken for ours as seldom as
/// possible; the guard's look without a cause covers the rest.</remarks>
internal sealed class OwnSenders
{
    // A start runs about a dozen of them in a row, and on a busy machine its first events are read after the last has ended.
    private const int Remembered = 32;

    private readonly Lock _gate = new();
    private readonly Queue<uint> _senders = new();

    private uint? _kept;

    /// <summary>A socket of this process that stays open.</summary>
    public void Keep(uint address)
    {
        lock (_gate)
            _kept = address;
    }

    public void Add(int process)
    {
        lock (_gate)
        {
            if (_senders.Count == Remembered)
                _senders.Dequeue();
            _senders.Enqueue((uint)process);
        }
    }

    public bool Contains(uint sender)
    {
        lock (_gate)
            return sender == _kept || _senders.Contains(sender);
    }
}
