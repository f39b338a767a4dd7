using System.Collections.Immutable;
using EdgeMesh.Kubernetes.Api;
using EdgeMesh.Tunnel;

namespace EdgeMesh.Tests.Planning;

internal static class TestReachability
{
    /// <summary>A view in which these ranges of these nodes were verified, and nothing else.</summary>
    public static Reachability Of(params (string Node, string Range)[] direct) => new(direct.GroupBy(d => d.Node).Select(node =>
        KeyValuePair.Create(node.Key, node.Select(d => new RangeReach(
            AddressRange.Parse(d.Range), Via: null, RangeState.Direct, TimeSpan.FromMilliseconds(2), "the node answers there")).ToImmutableArray())));

    /// <summary>The slice with all its endpoints on one node.</summary>
    public static EndpointSlice On(this EndpointSlice slice, string? node) =>
        slice with { Endpoints = [.. slice.Endpoints.Select(endpoint => endpoint with { NodeName = node })] };
}
