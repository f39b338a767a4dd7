using System.Collections.Immutable;

namespace EdgeMesh.Tunnel.Admission;

/// <summary>Why a connection was closed before anything was spent on it.</summary>
internal enum AdmissionRefusal
{
    /// <summary>It does not begin as a node of the mesh does.</summary>
    Foreign,

    /// <summary>Its proof was made with another key, or for another node.</summary>
    NotProven,

    /// <summary>Its proof is a copy of one that came before.</summary>
    Replayed,

    /// <summary>It was closed from the other side before it had proved anything.</summary>
    Closed,

    /// <summary>Its proof was not there in time.</summary>
    Silent,

    /// <summary>It had to give way to others before its proof was there, or found no place.</summary>
    Displaced,

    /// <summary>Too many handshakes from its address began and came to nothing.</summary>
    Unfinished,
}

/// <summary>What the door has seen. Written by its thread, read by any.</summary>
internal sealed class AdmissionCounts
{
    private static readonly AdmissionRefusal[] Refusals = Enum.GetValues<AdmissionRefusal>();

    private readonly long[] _refused = new long[Refusals.Length];
    private long _admitted;

    internal long Admitted => Volatile.Read(ref _admitted);

    internal long AllRefused => Refusals.Sum(Of);

    internal ImmutableSortedDictionary<string, long> Refused => Refusals.ToImmutableSortedDictionary(r => r.ToString(), Of, StringComparer.Ordinal);

    internal void Admit() => Volatile.Write(ref _admitted, _admitted + 1);

    internal void Refuse(AdmissionRefusal refusal) => Volatile.Write(ref _refused[(int)refusal], _refused[(int)refusal] + 1);

    internal long Of(AdmissionRefusal refusal) => Volatile.Read(ref _refused[(int)refusal]);
}
