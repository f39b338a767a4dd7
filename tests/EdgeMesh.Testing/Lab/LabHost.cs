namespace EdgeMesh.Testing.Lab;

/// <summary>A firewall on the node. Each lets answers through, and what it shuts, it shuts for both families.</summary>
public enum LabFirewall
{
    None,

    /// <summary>The policy of iptables' FORWARD is to drop, as Docker sets it.</summary>
    ForwardPolicy,

    /// <summary>The policy of iptables' INPUT is to drop.</summary>
    InputPolicy,

    /// <summary>Both policies are to drop, as ufw sets them.</summary>
    Policies,

    /// <summary>A chain of nft in forward drops.</summary>
    ForwardChain,

    /// <summary>A chain of nft in input drops.</summary>
    InputChain,

    /// <summary>Chains of nft in both drop.</summary>
    Chains,

    /// <summary>The chains of firewalld: both reject at their end, and let through what was translated.</summary>
    Firewalld,

    /// <summary>Chains of iptables that drop what comes to the pods' bridge from other devices, as Docker 28 has them for its own.</summary>
    ShutBridge,
}

/// <summary>How the node reaches the pods of the machine next door.</summary>
public enum LabWay
{
    /// <summary>A route by the card that has the default route too.</summary>
    Uplink,

    /// <summary>A route by a second card; the machine next door answers only what comes by the way by which it would answer.</summary>
    SecondCard,

    /// <summary>A VXLAN device, as flannel makes it.</summary>
    Vxlan,
}

/// <summary>What the node is like, as users have it.</summary>
public sealed record LabHost
{
    /// <summary>Every pod on a wire of its own, routed one by one, as Calico does.</summary>
    public static LabHost Routed { get; } = new();

    /// <summary>Pods on one bridge, as the CNI plug-ins of most clusters make it, with the settings that kubeadm asks for.</summary>
    public static LabHost Bridge { get; } = new() { OnBridge = true, HasLan = true };

    /// <summary>The pods stand on one bridge, cni0, that has the gateway's address.</summary>
    public bool OnBridge { get; init; }

    /// <summary>A frame may leave a port of the bridge by which it came.</summary>
    public bool Hairpin { get; init; } = true;

    /// <summary>What goes from one port of the bridge to another passes netfilter (<c>net.bridge.bridge-nf-call-iptables</c>).</summary>
    public bool BridgeNetfilter { get; init; } = true;

    /// <summary>Every pod stands on a second bridge too, br1, with an address of its network, as Multus and the bridge plug-in make it; its default
    /// route is that of the first.</summary>
    public bool SecondNetwork { get; init; }

    public LabWay ToOtherNode { get; init; } = LabWay.Uplink;

    /// <summary><c>rp_filter</c> is 1 on every device of the node.</summary>
    public bool StrictReversePath { get; init; }

    public bool Forwards { get; init; } = true;

    public bool HasDefaultRoute { get; init; } = true;

    public LabFirewall Firewall { get; init; }

    /// <summary>A machine "lan" beside the node that sends the service ranges to it.</summary>
    public bool HasLan { get; init; }
}
