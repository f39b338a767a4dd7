using EdgeMesh.Kubernetes;
using EdgeMesh.Tunnel.Identity;

namespace EdgeMesh.Agent.Options;

/// <summary>Looks at the files that a configuration names. Most of it is warnings: a file may still come, and the part that reads
/// it says what it could not do. A PSK that is there and is no secret is a fault: waiting does not mend it, and a roll-out that
/// stops at the first node is better than a mesh without its tunnel.</summary>
internal static class ReferencedFiles
{
    public static void Check(AgentConfig config, ClusterSource source, FindingList findings)
    {
        switch (source)
        {
            case ClusterSource.ApiServer { KubeConfig: not null }:
                Secret(config, KubeApiKeys.KubeConfig, "the kubeconfig", findings);
                break;
            case ClusterSource.MetaServer { Options.RequireAuthorization: true }:
                Exists(config, KubeApiKeys.MetaServerCa, "the CA certificate", findings);
                Exists(config, KubeApiKeys.MetaServerCertificate, "the certificate", findings);
                Secret(config, KubeApiKeys.MetaServerKey, "the private key", findings);
                break;
            case ClusterSource.Manifests manifests when !Directory.Exists(manifests.Folder):
                findings.Warn(config.MarkOf(KubeApiKeys.Manifests), KubeApiKeys.Manifests.Path, $"there is no folder {manifests.Folder}",
                    "make it; until then no service is known");
                break;
        }

        if (config.Get(EdgeTunnelKeys.TunnelEnable) && config.Get(EdgeTunnelKeys.PskEnable))
            Psk(config, findings);
    }

    private static void Psk(AgentConfig config, FindingList findings)
    {
        try
        {
            if (PresharedKeys.Read(config.Get(EdgeTunnelKeys.PskPath)).Notice is { } notice)
                findings.Warn(config.MarkOf(EdgeTunnelKeys.PskPath), EdgeTunnelKeys.PskPath.Path, notice, "");
        }
        catch (PresharedKeyException fault) when (fault.IsGuessable)
        {
            findings.Fault(config.MarkOf(EdgeTunnelKeys.PskPath), EdgeTunnelKeys.PskPath.Path, fault.Message, "");
        }
        catch (PresharedKeyException fault)
        {
            findings.Warn(config.MarkOf(EdgeTunnelKeys.PskPath), EdgeTunnelKeys.PskPath.Path, $"the tunnel stays off: {fault.Message}", "");
        }
    }

    private static bool Exists(AgentConfig config, ConfigKey<string> key, string noun, FindingList findings)
    {
        var path = config.Get(key);
        if (File.Exists(path))
            return true;
        findings.Warn(config.MarkOf(key), key.Path, $"{noun} {path} does not exist, or may not be looked at", "put the file there, or name another");
        return false;
    }

    private static void Secret(AgentConfig config, ConfigKey<string> key, string noun, FindingList findings)
    {
        if (!Exists(config, key, noun, findings))
            return;
        var path = config.Get(key);
        const UnixFileMode open = UnixFileMode.OtherRead | UnixFileMode.OtherWrite;
        try
        {
            var mode = OperatingSystem.IsLinux() ? File.GetUnixFileMode(path) : UnixFileMode.None;
            if ((mode & open) != UnixFileMode.None)
            {
                findings.Warn(config.MarkOf(key), key.Path, $"{noun} {path} can be read by every user of this machine (mode {Convert.ToString((int)mode, 8)})",
                    $"chmod 600 {path}");
            }

            using var _ = SmallFile.Open(path);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            findings.Warn(config.MarkOf(key), key.Path, $"{noun} cannot be read: {e.Message.TrimEnd('.')}", "let the agent's user read it");
        }
    }
}
