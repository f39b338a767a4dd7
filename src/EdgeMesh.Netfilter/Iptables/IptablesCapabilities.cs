namespace EdgeMesh.Netfilter.Iptables;

/// <summary>Which of the kernel's extensions this machine has for one family; found by a real transaction in a scratch chain.</summary>
/// <param name="Recent">xt_recent: the heartbeat check and client affinity.</param>
/// <param name="Statistic">xt_statistic: round robin and random over several endpoints.</param>
/// <param name="Cluster">xt_cluster: a hash of the client's address.</param>
/// <param name="RandomFully">MASQUERADE --random-fully, without which two clients can be given the same source port.</param>
public sealed record IptablesCapabilities(bool Recent, bool Statistic, bool Cluster, bool RandomFully)
{
    // xt_cluster's node mask has 32 bits.
    private const int MaxHashedEndpoints = 32;

    public static IptablesCapabilities Everything { get; } = new(true, true, true, true);

    public bool CanExpress(BackendChoice choice, int endpoints) => choice switch
    {
        BackendChoice.RoundRobin or BackendChoice.Random => endpoints <= 1 || Statistic,
        BackendChoice.ClientAffinity => endpoints <= 1 || (Recent && Statistic),
        BackendChoice.SourceHash => endpoints <= 1 || (Cluster && endpoints <= MaxHashedEndpoints),
        _ => false,
    };
}
