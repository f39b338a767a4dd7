using System.Collections.Immutable;

namespace EdgeMesh.Testing.Lab;

/// <summary>Who has which address in the lab; those of the recorded kube-proxy rules (tests/fixtures/kube-proxy).</summary>
public static class LabAddresses
{
    public const string Node = "10.200.0.2";
    public const string Node6 = "fd00:10:200::2";

    /// <summary>The node's address on the pod network; the source of what the node itself sends to a pod.</summary>
    public const string Gateway = "10.244.0.1";
    public const string Gateway6 = "fd00:10:244::1";

    public const string Client = "10.244.0.100";
    public const string Client6 = "fd00:10:244::100";

    /// <summary>The machine next door: API server of <c>default/kubernetes</c>, and the way to pods of other nodes.</summary>
    public const string Outside = "10.200.0.1";
    public const string Outside6 = "fd00:10:200::1";

    /// <summary>The third endpoint of <c>demo/web</c>, a pod of another node.</summary>
    public const string RemotePod = "10.244.1.13";
    public const string RemotePod6 = "fd00:10:244:1::13";

    /// <summary>A machine beside the node that is none of the cluster's; only in labs that have it.</summary>
    public const string Lan = "10.200.0.9";
    public const string Lan6 = "fd00:10:200::9";

    /// <summary>On the second network, in labs that have it.</summary>
    /// <param name="role">node or a pod.</param>
    public static string Second(string role) => $"192.168.50.{OnSecond(role)}";

    public static string Second6(string role) => $"fd00:192:168:50::{OnSecond(role)}";

    /// <summary>Addresses of pod "a": the first endpoint of each service of the fixture.</summary>
    public static ImmutableArray<string> PodA { get; } = ["10.244.0.11", "10.244.0.21", "10.244.0.31", "10.244.0.41", "10.244.0.51", "fd00:10:244::11"];

    /// <summary>Addresses of pod "b": the second endpoint of each service of the fixture.</summary>
    public static ImmutableArray<string> PodB { get; } = ["10.244.0.12", "10.244.0.22", "10.244.0.32", "10.244.0.42", "10.244.0.52", "fd00:10:244::12"];

    private static int OnSecond(string role) => role switch
    {
        "node" => 1,
        "a" => 11,
        "b" => 12,
        "client" => 100,
        _ => throw new ArgumentOutOfRangeException(nameof(role), role, "It is not on the second network."),
    };
}
