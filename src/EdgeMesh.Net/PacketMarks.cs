namespace EdgeMesh.Net;

/// <summary>Bits of the packet mark (<c>SO_MARK</c>, <c>meta mark</c>) that this product uses. kube-proxy has 0x4000 and 0x8000.</summary>
public static class PacketMarks
{
    /// <summary>The agent's own traffic, which its rules never catch.</summary>
    public const uint Own = 0x1000;

    /// <summary>To be masqueraded on the way out.</summary>
    public const uint Masquerade = 0x2000;

    /// <summary>On the kernel path, to be looked at when it leaves; iptables only.</summary>
    public const uint KernelPath = 0x40;
}
