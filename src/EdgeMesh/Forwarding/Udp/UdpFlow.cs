using EdgeMesh.Balancing;
using EdgeMesh.Catalog;
using EdgeMesh.Fairness;
using EdgeMesh.Linux;
using EdgeMesh.Linux.Datagrams;
using EdgeMesh.Net;

namespace EdgeMesh.Forwarding.Udp;

/// <summary>One service port as one loop sees it: its balancer and its counters.</summary>
internal sealed class UdpService(ServicePortName name, ServiceBalancer balancer)
{
    internal readonly ServicePortName Name = name;
    internal readonly ServiceBalancer Balancer = balancer;
    internal readonly Share Share = new(isService: true);
    internal long Flows;
    internal long Active;
    internal long Failed;
    internal long BytesToEndpoints;
    internal long BytesToClients;
}

/// <summary>One client's exchange with one endpoint. Belongs to one loop.</summary>
internal sealed class UdpFlow : ShareMember
{
    /// <summary>As seen at the listener, which conntrack makes unique.</summary>
    internal required InetEndpoint Client { get; init; }

    internal required InetEndpoint OriginalDestination { get; init; }

    internal required UdpService Service { get; init; }

    internal required DatagramSocket Socket { get; init; }

    /// <summary>The socket's other end is the tunnel: it leads to this endpoint and to no other.</summary>
    internal required bool IsTunnelled { get; init; }

    internal required long OpenedAt { get; init; }

    internal required Route Route { get; set; }

    /// <summary>The table in which <see cref="Route"/> was last found.</summary>
    internal required RouteTable Table { get; set; }

    internal required ServiceEndpoint Endpoint { get; set; }

    /// <summary>The present endpoint has sent something.</summary>
    internal bool Answered { get; set; }

    /// <summary>Endpoints that failed since the last answer; null while none did.</summary>
    internal List<ServiceEndpoint>? Tried { get; set; }

    internal long BytesToEndpoint { get; set; }

    internal long BytesToClient { get; set; }

    /// <summary>Both ways for longer than a question and its answer: conntrack keeps it longer (its status is ASSURED).</summary>
    internal bool IsAssured { get; set; }

    // Kept by the FlowTable.
    internal ulong Id { get; set; }

    internal UdpFlow? Older { get; set; }

    internal UdpFlow? Newer { get; set; }
}
