using System.Collections.Immutable;
using System.Net;
using EdgeMesh.Catalog;
using EdgeMesh.Net;
using EdgeMesh.Netfilter;
using EdgeMesh.Planning;

namespace EdgeMesh.Tests.Planning;

internal static class TestOptions
{
    public static CatalogPolicy Policy { get; } = new() { NodeName = "me" };

    public static PlanningOptions Planning { get; } = new()
    {
        KernelChoices = [BackendChoice.RoundRobin, BackendChoice.Random, BackendChoice.ClientAffinity],
        Listeners = ImmutableSortedDictionary<IpFamily, InetEndpoint>.Empty
            .Add(IpFamily.IPv4, InetEndpoint.Parse("169.254.96.16:20007"))
            .Add(IpFamily.IPv6, InetEndpoint.Parse("[fd0e:6d65:7368::10]:20007")),
    };

    public static PlanningOptions Userspace { get; } = Planning with { DataPath = DataPath.Userspace };
}
