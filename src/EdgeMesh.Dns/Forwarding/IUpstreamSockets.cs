namespace EdgeMesh.Dns.Forwarding;

/// <summary>Sends for a <see cref="Forwarder"/>. Answers come back by <see cref="Forwarder.Received"/>, failures by
/// <see cref="Forwarder.Failed"/>, and never from within <see cref="TryOpen"/>.</summary>
public interface IUpstreamSockets
{
    /// <summary>Sends one message by a socket of its own, connected to the upstream so that nobody else is heard there, from a port
    /// that the kernel chooses. By <see cref="UpstreamPath.Tcp"/> and <see cref="UpstreamPath.Tls"/> the sender puts the length in front.</summary>
    /// <param name="message">Valid during the call.</param>
    /// <returns>False: it cannot even be begun.</returns>
    bool TryOpen(Exchange exchange, ReadOnlySpan<byte> message);

    /// <summary>Nothing more is wanted of it.</summary>
    void Close(Exchange exchange);
}
