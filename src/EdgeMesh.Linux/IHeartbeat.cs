namespace EdgeMesh.Linux;

/// <summary>Tells the kernel that the data path is alive. The kernel forgets it within seconds, and the rules that need
/// this process then stop matching.</summary>
public interface IHeartbeat
{
    /// <summary>Called by a data-path loop about once a second; must not block. Throws <see cref="IOException"/> when the
    /// kernel refused; a place that does not exist yet (rules not applied) is no fault.</summary>
    void Beat();

    /// <summary>Renews the lease of the rules that stand without this process for a while. <see cref="Beat"/> does it now and
    /// then; this does it at once, for rules that have just been made. Throws as <see cref="Beat"/> does.</summary>
    void RenewLease()
    {
    }
}
