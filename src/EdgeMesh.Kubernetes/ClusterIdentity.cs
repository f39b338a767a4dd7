namespace EdgeMesh.Kubernetes;

/// <summary>Tells one cluster from another, as far as it can be told: what a cache is kept for.</summary>
/// <param name="Configured">How the configuration points at the cluster; always known.</param>
/// <param name="Server">Address of the API server; null: what names it cannot be read.</param>
/// <param name="Authority">Fingerprint of its CA, <c>-</c> where there is none; null: it cannot be read. The in-cluster
/// address is often the same in every cluster; the CA is not.</param>
public sealed record ClusterIdentity(string Configured, string? Server, string? Authority)
{
    /// <summary>As much of it as the options and the files that they name tell at the moment.</summary>
    public static ClusterIdentity Of(Access.ApiAccessOptions options) => Access.ApiAccess.Identify(options);

    public bool IsExact => Server is not null && Authority is not null;

    /// <summary>May facts of <paramref name="kept"/> stand in for this cluster's? What is known must agree. Where
    /// something is not known (a kubeconfig that is missing or broken), the configuration must also point where it
    /// pointed when they were kept.</summary>
    public bool Accepts(ClusterIdentity kept) =>
        (Server is null || Server == kept.Server) && (Authority is null || Authority == kept.Authority) && (IsExact || Configured == kept.Configured);
}
