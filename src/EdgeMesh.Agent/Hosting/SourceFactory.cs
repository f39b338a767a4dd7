using System.Net.Sockets;
using EdgeMesh.Agent.Options;
using EdgeMesh.Kubernetes;
using EdgeMesh.Kubernetes.Access;
using EdgeMesh.Linux;
using Microsoft.Extensions.Logging;

namespace EdgeMesh.Agent.Hosting;

/// <summary>Makes the source that the options name, with its cache.</summary>
internal static class SourceFactory
{
    private const string CacheFile = "facts.json";

    public static IClusterSource Create(AgentOptions options, Action<Socket> markSocket, ILoggerFactory loggers, TimeProvider time)
    {
        if (options.Source is ClusterSource.Manifests manifests)
            return new ManifestSource(manifests.Folder, options.NodeName, loggers.CreateLogger<ManifestSource>(), time);

        var api = new DeferredSource(Access(options, markSocket), loggers.CreateLogger<ApiServerSource>(), time);
        return new CachedSource(api, Path.Combine(options.StateDirectory, CacheFile), loggers.CreateLogger<CachedSource>(), time);
    }

    /// <summary>Where the API is asked; null: nowhere, or it cannot be told yet.</summary>
    public static string? ApiServer(AgentOptions options) =>
        options.Source is ClusterSource.Manifests ? null : ClusterIdentity.Of(Access(options, _ => { })).Server;

    private static ApiAccessOptions Access(AgentOptions options, Action<Socket> markSocket)
    {
        var access = new ApiAccessOptions
        {
            Qps = options.Qps,
            Burst = options.Burst,
            NodeName = options.NodeName,
            ForNames = options.Dns is { Enable: true, CacheOnly: null },
            OnSocket = markSocket,
            IsClockSynchronised = () => KernelClock.IsSynchronised,
        };
        return options.Source switch
        {
            ClusterSource.ApiServer server => access with
            {
                Master = server.Master?.ToString() ?? "",
                KubeConfigPath = server.KubeConfig ?? "",
            },
            ClusterSource.MetaServer meta => access with { MetaServer = meta.Options },
            _ => access,
        };
    }
}
