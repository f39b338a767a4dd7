namespace EdgeMesh.Linux;

/// <summary>Tells the kernel that the data path is alive. The kernel forgets it within seconds, and the rules that need
/// this process then stop matching.</summary>
public interface IHeartbeat
{
    /// <summary>Called by a data-path loop about once a second; must not block. Throws <see cref="IOException"/> when the
    /// kernel refused; a place that does not exist yet (rules not applied) is no fault.</summary>
    void Beat();

    /// <summary>True once a beat is done: rules that stood before it match. A beat may be done some time after
    /// <see cref="Beat"/> has returned.</summary>
    bool HasBeaten { get; }
}
