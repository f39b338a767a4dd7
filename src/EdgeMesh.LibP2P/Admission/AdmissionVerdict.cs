namespace EdgeMesh.LibP2P.Admission;

/// <summary>What a listener makes of a dialer's first flight.</summary>
public enum AdmissionVerdict
{
    /// <summary>More has to arrive.</summary>
    Incomplete,

    /// <summary>The dialer has the key and means this listener.</summary>
    Proven,

    /// <summary>This is no first flight of the mesh: another protocol, or no proof in it.</summary>
    Foreign,

    /// <summary>A proof under another key.</summary>
    OtherKey,

    /// <summary>A proof under a key of the mesh, for another listener: an address that has changed hands, or a flight that was
    /// recorded elsewhere.</summary>
    OtherListener,
}

/// <summary>The dialer has not proved that it has the key: nothing was spent on it.</summary>
public sealed class NotAdmittedException(AdmissionVerdict verdict) : PeerProtocolException($"the peer does not prove that it has this mesh's key ({verdict})")
{
    /// <summary>What was wrong with the proof.</summary>
    public AdmissionVerdict Verdict { get; } = verdict;
}

/// <summary>The listener closed the connection on this side's proof, without a word: it has another key, or is somebody else.</summary>
public sealed class ProofRefusedException(Exception inner) : PeerProtocolException("the peer closed the connection on this side's proof of the key: it is another node, or has another key", inner);
