using System.Net;

namespace EdgeMesh.Testing.Lab;

public sealed partial class NamespaceLab
{
    /// <summary>Ports of the fixture's services that answer in every pod; 8081 to 8083 are for the manifests of the agent,
    /// so that the port an answer names tells whether the agent or kube-proxy sent the client there.</summary>
    private static readonly int[] _tcpPorts = [8080, 8081, 9090, 8443];

    private static readonly int[] _udpPorts = [5353, 5354];

    public PodServer Serve(string role, string address, int port) =>
        OwnedByLab(new PodServer(this[role], role, IPAddress.Parse(address), port));

    public PodUdpServer ServeUdp(string role, string address, int port) =>
        OwnedByLab(new PodUdpServer(this[role], role, IPAddress.Parse(address), port));

    private void StartPodServers()
    {
        foreach (var role in (string[])["a", "b", "outside"])
        {
            foreach (var port in _tcpPorts)
            {
                Serve(role, "0.0.0.0", port);
                Serve(role, "::", port);
            }
        }

        // Bound to each address: an unbound UDP socket would answer from the first address of the pod.
        foreach (var (role, addresses) in new[] { ("a", LabAddresses.PodA), ("b", LabAddresses.PodB) })
        {
            foreach (var address in addresses)
            {
                foreach (var port in _udpPorts)
                    ServeUdp(role, address, port);
            }
        }

        Serve("outside", LabAddresses.Outside, 6443);
        if (!Host.HasLan)
            return;
        // A pod of the node's own network, and the pod next door.
        foreach (var port in (int[])[8080, 8081])
        {
            Serve("node", LabAddresses.Node, port);
            Serve("node", LabAddresses.Node6, port);
        }

        foreach (var port in _udpPorts)
        {
            ServeUdp("node", LabAddresses.Node, port);
            ServeUdp("node", LabAddresses.Node6, port);
            ServeUdp("outside", LabAddresses.RemotePod, port);
            ServeUdp("outside", LabAddresses.RemotePod6, port);
        }
    }
}
