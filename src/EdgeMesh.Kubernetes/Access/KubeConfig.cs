using System.Text;
using System.Text.Json;
using EdgeMesh.Kubernetes.Yaml;

namespace EdgeMesh.Kubernetes.Access;

/// <summary>The current context of a kubeconfig: one cluster, one user. Paths are absolute.</summary>
internal sealed record KubeConfig
{
    private const int LargestFile = 1 << 20;

    public required string Path { get; init; }

    public string Server { get; init; } = "";

    public bool InsecureSkipTlsVerify { get; init; }

    public string? TlsServerName { get; init; }

    public string? ProxyUrl { get; init; }

    public PemSource? CertificateAuthority { get; init; }

    public PemSource? ClientCertificate { get; init; }

    public PemSource? ClientKey { get; init; }

    /// <summary>A secret: never written anywhere.</summary>
    public string? Token { get; init; }

    public string? TokenFile { get; init; }

    /// <summary>A program that gives credentials; null: none.</summary>
    public ExecCommand? Exec { get; init; }

    /// <summary>A private key or token stands in the file itself.</summary>
    public bool HoldsSecret { get; init; }

    /// <exception cref="ApiAccessException"/>
    public static KubeConfig Load(string path) => Load(path, clusterAlone: false);

    /// <summary>Only which cluster it leads to; the user's part may be broken.</summary>
    /// <exception cref="ApiAccessException"/>
    public static KubeConfig LoadCluster(string path) => Load(path, clusterAlone: true);

    private static KubeConfig Load(string path, bool clusterAlone)
    {
        path = System.IO.Path.GetFullPath(path);
        var text = Encoding.UTF8.GetString(AccessFiles.Read(path, "kubeconfig", "kubeAPIConfig.kubeConfig", LargestFile));
        try
        {
            return YamlTree.Parse(text) is YamlMapping root
                ? Parse(root, path, clusterAlone)
                : throw new ApiAccessException($"kubeconfig {path} holds no mapping: give a file as kubectl writes it");
        }
        catch (YamlFaultException e)
        {
            throw new ApiAccessException($"kubeconfig {path}:{e.Line} {e.Message}: correct the file", e);
        }
    }

    private static KubeConfig Parse(YamlMapping root, string path, bool clusterAlone)
    {
        var contexts = Names(root, "contexts");
        var current = Text(root, "current-context");
        if (current.Length == 0)
        {
            current = contexts is [var only] ? only : throw new ApiAccessException(
                $"kubeconfig {path} has no current-context: set it with 'kubectl config use-context' to one of: {string.Join(", ", contexts)}");
        }

        var context = Entry(root, "contexts", "context", current, path);
        var cluster = Entry(root, "clusters", "cluster", Text(context, "cluster"), path);
        var folder = System.IO.Path.GetDirectoryName(path)!;
        var found = new KubeConfig
        {
            Path = path,
            Server = Text(cluster, "server"),
            InsecureSkipTlsVerify = Text(cluster, "insecure-skip-tls-verify") == "true",
            TlsServerName = Text(cluster, "tls-server-name") is { Length: > 0 } serverName ? serverName : null,
            ProxyUrl = Text(cluster, "proxy-url") is { Length: > 0 } proxy ? proxy : null,
            CertificateAuthority = Pem(cluster, "certificate-authority", folder, path),
        };
        return clusterAlone ? found : WithUser(found, root, context, cluster, folder);
    }

    private static KubeConfig WithUser(KubeConfig found, YamlMapping root, YamlMapping context, YamlMapping cluster, string folder)
    {
        var path = found.Path;
        var user = Text(context, "user") is { Length: > 0 } name ? Entry(root, "users", "user", name, path) : new YamlMapping(new(1, 1), []);

        foreach (var plugin in (string[])["auth-provider", "username", "password", "as", "impersonate"])
        {
            if (user[plugin] is { } entry)
            {
                throw new ApiAccessException($"kubeconfig {path}:{entry.Line} signs in with '{plugin}', which the agent does not do: use a client certificate, a token of a service account, or an exec program");
            }
        }

        return found with
        {
            ClientCertificate = Pem(user, "client-certificate", folder, path),
            ClientKey = Pem(user, "client-key", folder, path),
            Token = Text(user, "token") is { Length: > 0 } token ? token : null,
            TokenFile = Text(user, "tokenFile") is { Length: > 0 } file ? System.IO.Path.Combine(folder, file) : null,
            Exec = user["exec"] is { } exec ? ExecOf(exec, cluster, folder, path) : null,
            HoldsSecret = user["client-key-data"] is not null || user["token"] is not null,
        };
    }

    private static ExecCommand ExecOf(YamlValue entry, YamlMapping cluster, string folder, string path)
    {
        var exec = entry as YamlMapping ?? throw new ApiAccessException($"kubeconfig {path}:{entry.Line} exec is no mapping: it has apiVersion and command");
        var version = Text(exec, "apiVersion");
        if (version is not (ExecPlugin.Group + "v1" or ExecPlugin.Group + "v1beta1"))
        {
            throw new ApiAccessException($"kubeconfig {path}:{exec.Line} exec wants apiVersion {ExecPlugin.Group}v1 (or v1beta1), and this is '{version}': correct it, or take a newer program");
        }

        if (Text(exec, "interactiveMode") == "Always")
        {
            throw new ApiAccessException($"kubeconfig {path}:{exec.Line} exec wants somebody to talk to (interactiveMode: Always), and nobody sits at an agent: use a program that does without");
        }

        var program = Text(exec, "command") is { Length: > 0 } command ? command : throw new ApiAccessException($"kubeconfig {path}:{exec.Line} exec has no command: name the program");
        return new()
        {
            // As client-go does: with a slash it is a path, and a relative one begins at the kubeconfig.
            Program = program.Contains('/', StringComparison.Ordinal) ? System.IO.Path.Combine(folder, program) : program,
            Arguments = exec["args"] is YamlSequence args ? [.. args.Items.OfType<YamlScalar>().Select(a => a.Text)] : [],
            Environment = exec["env"] is YamlSequence env ? [.. env.Items.OfType<YamlMapping>().Where(e => Text(e, "name").Length > 0).Select(e => (Text(e, "name"), Text(e, "value")))] : [],
            ApiVersion = version,
            InstallHint = Text(exec, "installHint"),
            ClusterInfo = Text(exec, "provideClusterInfo") == "true" ? ClusterInfo(cluster, Pem(cluster, "certificate-authority", folder, path)) : null,
            Origin = path,
        };
    }

    private static string ClusterInfo(YamlMapping cluster, PemSource? authority)
    {
        using var text = new MemoryStream();
        using (var json = new Utf8JsonWriter(text))
        {
            json.WriteStartObject();
            foreach (var key in (string[])["server", "tls-server-name", "proxy-url"])
            {
                if (Text(cluster, key) is { Length: > 0 } value)
                {
                    json.WriteString(key, value);
                }
            }

            if (Text(cluster, "insecure-skip-tls-verify") == "true")
            {
                json.WriteBoolean("insecure-skip-tls-verify", true);
            }

            if (authority is not null)
            {
                json.WriteBase64String("certificate-authority-data", Encoding.UTF8.GetBytes(authority.Read()));
            }

            json.WriteEndObject();
        }

        return Encoding.UTF8.GetString(text.ToArray());
    }

    private static PemSource? Pem(YamlMapping from, string key, string folder, string path)
    {
        // As kubectl does: data wins over a file.
        if (from[key + "-data"] is YamlScalar { Text.Length: > 0 } data)
        {
            try
            {
                return new(null, Convert.FromBase64String(data.Text.Trim()), $"{key}-data of kubeconfig {path}");
            }
            catch (FormatException e)
            {
                throw new ApiAccessException($"kubeconfig {path}:{data.Line} {key}-data is not base64: write the file again with 'kubectl config view --raw --flatten'", e);
            }
        }

        return Text(from, key) is { Length: > 0 } file ? new(System.IO.Path.Combine(folder, file), null, $"{key} of kubeconfig {path}") : null;
    }

    private static List<string> Names(YamlMapping root, string list) =>
        root[list] is YamlSequence entries ? [.. entries.Items.OfType<YamlMapping>().Select(e => Text(e, "name"))] : [];

    private static YamlMapping Entry(YamlMapping root, string list, string member, string name, string path)
    {
        if (root[list] is YamlSequence entries)
        {
            foreach (var entry in entries.Items.OfType<YamlMapping>())
            {
                if (Text(entry, "name") == name)
                {
                    return entry[member] as YamlMapping ?? new YamlMapping(entry.Mark, []);
                }
            }
        }

        throw new ApiAccessException($"kubeconfig {path} has no {member} named '{name}' under {list}: it has {(Names(root, list) is { Count: > 0 } names ? string.Join(", ", names) : "none")}");
    }

    private static string Text(YamlMapping from, string key) =>
        from[key] is YamlScalar { IsNull: false, Text: var text } ? text : "";
}
