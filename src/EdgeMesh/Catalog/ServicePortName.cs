using EdgeMesh.Net;

namespace EdgeMesh.Catalog;

/// <summary>Names one port of one service, as users see it in rules, logs and metrics: <c>namespace/name:port</c>.</summary>
public sealed record ServicePortName(string Namespace, string Name, string Port, TransportProtocol Protocol)
{
    /// <summary>The text of the Go agent's rule comments; the port name is left out where the port has none.</summary>
    public override string ToString() => Port.Length == 0 ? $"{Namespace}/{Name}" : $"{Namespace}/{Name}:{Port}";
}
