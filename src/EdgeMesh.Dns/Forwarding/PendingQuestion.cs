using EdgeMesh.Dns.Serving;

namespace EdgeMesh.Dns.Forwarding;

public enum UpstreamPath
{
    Udp,
    Tcp,
    Tls,
}

/// <summary>One message on its way to an upstream and back, by a socket of its own: its port is as random as its id.</summary>
public sealed class Exchange
{
    internal Exchange(PendingQuestion question, Upstream upstream, UpstreamPath path, ushort id, long now)
    {
        (Question, Upstream, Path, Id, SentAt) = (question, upstream, path, id, now);
    }

    public Upstream Upstream { get; }

    public UpstreamPath Path { get; }

    public ushort Id { get; }

    /// <summary>For the owner of the sockets.</summary>
    public object? Channel { get; set; }

    internal PendingQuestion Question { get; }

    internal long SentAt { get; }

    internal bool WithEdns { get; init; }

    /// <summary>Finds out whether an upstream is back; nobody waits for it.</summary>
    internal bool IsProbe { get; init; }

    /// <summary>The next upstream was asked meanwhile; this one may still answer.</summary>
    internal bool IsLate { get; set; }

    internal int Strange { get; set; }

    internal bool IsClosed { get; set; }
}

/// <summary>Somebody who waits, with the request as it came.</summary>
public readonly record struct Waiter(DnsClient Client, byte[] Request);

/// <summary>A question that upstreams are asked, once for all who wait for it.</summary>
public sealed class PendingQuestion
{
    internal PendingQuestion(byte[] question, byte variant, long now)
    {
        (Bytes, Variant, AskedAt) = (question, variant, now);
    }

    /// <summary>Name, type and class.</summary>
    public ReadOnlySpan<byte> Question => Bytes;

    public byte Variant { get; }

    internal byte[] Bytes { get; }

    internal List<Waiter> Waiters { get; } = [];

    internal List<Exchange> Open { get; } = new(2);

    internal Upstream[] Order { get; set; } = [];

    internal long AskedAt { get; }

    internal long NextAttemptAt { get; set; }

    internal int Attempts { get; set; }

    /// <summary>The last answer that says only that its upstream cannot say.</summary>
    internal byte[]? Unsaid { get; set; }

    internal bool StaleWasDue { get; set; }

    internal bool IsOver { get; set; }
}
