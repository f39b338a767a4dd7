namespace EdgeMesh.Dns.Forwarding;

/// <summary>Whose questions a <see cref="Forwarder"/> asks.</summary>
public interface IForwarderOwner
{
    /// <summary>An answer, or none: then <paramref name="message"/> is empty. Who waits is in <see cref="Forwarder.WaitersOf"/>.</summary>
    void Resolved(PendingQuestion question, ReadOnlySpan<byte> message, long now);

    /// <summary>Upstream takes so long that who waits should be given a stale answer, if there is one (RFC 8767, 5). Called once.</summary>
    /// <returns>True: they have it, and wait no longer.</returns>
    bool StaleIsDue(PendingQuestion question, long now);
}
