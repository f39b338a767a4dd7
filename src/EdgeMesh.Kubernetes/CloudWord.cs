using System.Collections.Immutable;
using EdgeMesh.Kubernetes.Api;

namespace EdgeMesh.Kubernetes;

/// <summary>What the cloud last said of one kind of object, for the time when only a local database answers.</summary>
/// <param name="Version">The resourceVersion of its last list; null: none yet, or not a number.</param>
/// <param name="Deleted">What was deleted since that list, and at which version.</param>
public sealed record CloudWord(string? Version, ImmutableDictionary<ObjectName, string> Deleted);
