using EdgeMesh.Balancing;
using EdgeMesh.Forwarding;
using EdgeMesh.Forwarding.Udp;
using EdgeMesh.Linux;

namespace EdgeMesh.Tests.Forwarding.Udp;

/// <summary>Strict rotation in the order of the route, and a memory of what it was told.</summary>
internal sealed class RotatingChooser : IEndpointChooser
{
    private int _next;

    public List<InetEndpoint> Failures { get; } = [];

    public List<InetEndpoint> Successes { get; } = [];

    public bool TryChoose(Route route, InetAddress client, ReadOnlySpan<InetEndpoint> tried, long now, out InetEndpoint endpoint)
    {
        for (var i = 0; i < route.Endpoints.Length; i++)
        {
            endpoint = route.Endpoints[_next++ % route.Endpoints.Length];
            if (!tried.Contains(endpoint))
                return true;
        }

        endpoint = default;
        return false;
    }

    public void Succeeded(Route route, InetAddress client, InetEndpoint endpoint, long now) => Successes.Add(endpoint);

    public void Failed(InetEndpoint endpoint, long now) => Failures.Add(endpoint);
}
