using System.Collections.Immutable;
using System.Text;
using System.Text.Json;
using EdgeMesh.Kubernetes.Watching;

namespace EdgeMesh.Kubernetes.Api;

/// <summary>Everything that is particular to one kind of object: its place in the API, what of it is read and what is refused,
/// and how it is kept. A new kind is its type, with a schema, and a row in <see cref="Kinds"/>: then it is listed and watched,
/// cached, read from manifests, and in <see cref="ClusterFacts.Of"/>.</summary>
/// <param name="apiVersion">As written in objects: <c>v1</c> or <c>discovery.k8s.io/v1</c>.</param>
/// <param name="plural">The name in URLs.</param>
/// <param name="name">As written in objects.</param>
public abstract class Kind(string apiVersion, string plural, string name)
{
    public string ApiVersion { get; } = apiVersion;

    public string Plural { get; } = plural;

    public string Name { get; } = name;

    /// <summary>Empty for core/v1.</summary>
    public string Group { get; } = GroupOf(apiVersion);

    internal string ListKind { get; } = name + "List";

    /// <summary>Relative to the server's base address, over all namespaces.</summary>
    internal string ListPath { get; } = $"{(GroupOf(apiVersion).Length == 0 ? "api" : "apis")}/{apiVersion}/{plural}";

    internal bool IsNamespaced { get; init; } = true;

    /// <summary>Nothing is told to anybody before it has been listed.</summary>
    internal bool IsEssential { get; init; }

    /// <summary>Of an extension that a cluster may lack. While it does there are none, which is no fault, and it is asked for again.</summary>
    internal bool IsOptional { get; init; }

    /// <summary>Asked for by the name of this agent's node alone, where that is known; what it says of the node is a fact of its own.</summary>
    internal bool IsOwnNode { get; init; }

    /// <summary>Asked for where names are answered, and nowhere else.</summary>
    internal bool IsForNames { get; init; }

    /// <summary>Labels that the server is to select by where names are not answered; null: all objects.</summary>
    internal string? Selector { get; init; }

    /// <summary>What its lines in the cache begin with, never to be changed; null: it is not cached.</summary>
    internal string? CachedAs
    {
        get;
        init
        {
            field = value;
            CachePrefix = Encoding.UTF8.GetBytes($"{{\"{value}\":");
        }
    }

    internal byte[]? CachePrefix { get; private init; }

    /// <summary>Bytes of one object -> object, or a fault that names it. Never throws.</summary>
    internal abstract ReadResult<KubernetesObject> ReadAny(ReadOnlySpan<byte> json);

    internal abstract void Write(Utf8JsonWriter writer, KubernetesObject value);

    internal abstract IEnumerable<KubernetesObject> In(ClusterFacts facts);

    /// <summary>The facts with those of these objects that are of this kind, in place of what there was. Where all are the same
    /// as before, so is their dictionary.</summary>
    internal abstract ClusterFacts Put(ClusterFacts facts, IEnumerable<KubernetesObject> objects, ClusterFacts? before);

    internal abstract Reflector Reflect(ReflectorParts parts, Selection selection);

    internal static string GroupOf(string apiVersion) => apiVersion.IndexOf('/', StringComparison.Ordinal) is >= 0 and var slash ? apiVersion[..slash] : "";

    private protected byte[] Bytes(KubernetesObject value)
    {
        using var bytes = new MemoryStream();
        using (var writer = new Utf8JsonWriter(bytes))
            Write(writer, value);
        return bytes.ToArray();
    }

    /// <summary>Whether both would be written alike.</summary>
    internal bool Same(KubernetesObject one, KubernetesObject other) => Bytes(one).AsSpan().SequenceEqual(Bytes(other));
}

/// <inheritdoc/>
public sealed class Kind<T> : Kind
    where T : KubernetesObject
{
    private readonly Schema<T> _schema;

    internal Kind(string apiVersion, string plural, string name, Schema<T> schema)
        : base(apiVersion, plural, name) => _schema = schema;

    /// <summary>What the API server would refuse, and a folder of manifests may contain; null: its name is all that is checked.</summary>
    internal Func<T, (string Message, string Path)?>? Check { get; init; }

    /// <summary>The object that it says something about, by which it is joined with others; null: it belongs to none.</summary>
    public Func<T, ObjectName?> JoinKey { get; internal init; } = o => o.Key;

    /// <inheritdoc cref="Kind.ReadAny"/>
    internal ReadResult<T> Read(ReadOnlySpan<byte> json) => ObjectReader.Read(json, _schema, this);

    internal override ReadResult<KubernetesObject> ReadAny(ReadOnlySpan<byte> json)
    {
        var (value, fault) = Read(json);
        return new(value, fault);
    }

    internal override void Write(Utf8JsonWriter writer, KubernetesObject value) => _schema.Write(writer, (T)value);

    internal override IEnumerable<KubernetesObject> In(ClusterFacts facts) => facts.Of(this).Values;

    internal override ClusterFacts Put(ClusterFacts facts, IEnumerable<KubernetesObject> objects, ClusterFacts? before)
    {
        var fresh = ImmutableDictionary.CreateBuilder<ObjectName, T>();
        foreach (var value in objects.OfType<T>())
            fresh[value.Key] = value;
        return before?.Of(this) is { } old && old.Count == fresh.Count && fresh.All(f => ReferenceEquals(f.Value, old.GetValueOrDefault(f.Key)))
            ? facts.With(this, old)
            : facts.With(this, fresh.ToImmutable());
    }

    internal override Reflector Reflect(ReflectorParts parts, Selection selection) => new Reflector<T>(parts, this, selection);
}

/// <summary>The kinds that this agent reads.</summary>
public static class Kinds
{
    public static Kind<Service> Services { get; } = new("v1", "services", "Service", Service.Schema)
    { Check = ObjectCheck.Of, Selector = Selection.NotHeadless, IsEssential = true, CachedAs = "service" };

    /// <summary>A slice belongs to the service that its label names.</summary>
    public static Kind<EndpointSlice> EndpointSlices { get; } = new("discovery.k8s.io/v1", "endpointslices", "EndpointSlice", EndpointSlice.Schema)
    { Check = ObjectCheck.Of, Selector = Selection.NotHeadless, IsEssential = true, CachedAs = "slice", JoinKey = Selection.ServiceOf };

    public static Kind<Endpoints> Endpoints { get; } = new("v1", "endpoints", "Endpoints", Api.Endpoints.Schema)
    { Check = ObjectCheck.Of, Selector = Selection.NotHeadless, IsEssential = true, CachedAs = "endpoints" };

    public static Kind<Node> Nodes { get; } = new("v1", "nodes", "Node", Node.Schema) { IsNamespaced = false, IsOwnNode = true };

    /// <summary>A cluster's role of an older release may not grant them; names of services are answered all the same.</summary>
    public static Kind<Namespace> Namespaces { get; } = new("v1", "namespaces", "Namespace", Namespace.Schema)
    { IsNamespaced = false, IsOptional = true, IsForNames = true, CachedAs = "namespace" };

    public static ImmutableArray<Kind> All { get; } = [Services, EndpointSlices, Endpoints, Nodes, Namespaces];
}
