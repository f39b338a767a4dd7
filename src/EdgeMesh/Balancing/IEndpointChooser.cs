using EdgeMesh.Forwarding;
using EdgeMesh.Linux;

namespace EdgeMesh.Balancing;

/// <summary>Chooses endpoints of one service port for one loop thread. Times are milliseconds on a clock that never goes back.</summary>
public interface IEndpointChooser
{
    /// <summary>An endpoint of <paramref name="route"/> that <paramref name="tried"/> does not hold; false: there is none.</summary>
    bool TryChoose(Route route, InetAddress client, ReadOnlySpan<InetEndpoint> tried, long now, out InetEndpoint endpoint);

    /// <summary>The endpoint answered this client.</summary>
    void Succeeded(Route route, InetAddress client, InetEndpoint endpoint, long now);

    /// <summary>The endpoint refused or cannot be reached.</summary>
    void Failed(InetEndpoint endpoint, long now);
}
