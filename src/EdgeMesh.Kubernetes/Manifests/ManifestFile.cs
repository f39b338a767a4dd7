using System.Collections.Immutable;
using System.Text;
using EdgeMesh.Kubernetes.Api;
using EdgeMesh.Kubernetes.Yaml;

namespace EdgeMesh.Kubernetes.Manifests;

/// <param name="Object">Kind and name where they could be read, so that the last good version can be kept.</param>
internal sealed record ManifestFault(string File, long Line, string Message, (string Kind, ObjectName Name)? Object)
{
    public override string ToString() => $"{File}:{Line} {Message}";
}

internal sealed record ManifestObject(string Kind, KubernetesObject Value, string File, long Line);

/// <summary>What one file says. One bad document is one fault; the others count.</summary>
internal sealed record ManifestFile(string Path, ImmutableArray<ManifestObject> Objects, ImmutableArray<ManifestFault> Faults, ImmutableArray<string> IgnoredKinds)
{
    private const int MostDocuments = 100_000;

    /// <summary>Pure. Never throws for what stands in the text.</summary>
    /// <param name="last">The file as read before: objects whose text is the same stay the same reference.</param>
    /// <param name="kinds">Those that are read; null: <see cref="Kinds.All"/>.</param>
    public static ManifestFile Parse(string path, string text, ManifestFile? last = null, IEnumerable<Kind>? kinds = null)
    {
        var reading = new Reading(path, last, kinds ?? Kinds.All);
        var documents = 0;
        if (path.EndsWith(".json", StringComparison.OrdinalIgnoreCase))
        {
            reading.Document(() => JsonTree.Parse(text));
            return reading.Result();
        }

        foreach (var (line, document) in Split(text))
        {
            if (++documents > MostDocuments)
            {
                reading.Faults.Add(new(path, line, $"holds more than {MostDocuments} documents; the rest is ignored", null));
                break;
            }

            reading.Document(() => YamlTree.Parse(document, line));
        }

        return reading.Result();
    }

    /// <summary>Documents with the line where each begins. Cut here and not by the YAML parser, which cannot go on after a
    /// broken document; a line that begins with '---' is a boundary even inside a block of text (YAML 1.2, 9.1.2).</summary>
    internal static IEnumerable<(int Line, string Text)> Split(string text)
    {
        var document = new StringBuilder();
        int line = 0, first = 1;
        var content = false;
        text = text.StartsWith('\uFEFF') ? text[1..] : text;
        using var rows = new StringReader(text);
        while (rows.ReadLine() is { } row)
        {
            line++;
            if ((row.StartsWith("---", StringComparison.Ordinal) && (row.Length == 3 || char.IsWhiteSpace(row[3]))) || row.TrimEnd() == "...")
            {
                if (content)
                {
                    yield return (first, document.ToString());
                }

                document.Clear();
                var rest = row[0] == '-' ? row[3..] : "";
                content = Says(rest);
                document.AppendLine(rest);
                first = line;
                continue;
            }

            if (!row.StartsWith('%'))
            {
                content |= Says(row);
                document.AppendLine(row);
            }
            else
            {
                document.AppendLine();
            }
        }

        if (content)
        {
            yield return (first, document.ToString());
        }
    }

    private static bool Says(string row) => row.AsSpan().TrimStart() is [not '#', ..];

    private sealed class Reading(string path, ManifestFile? last, IEnumerable<Kind> kinds)
    {
        private readonly Dictionary<string, Kind> _kinds = kinds.ToDictionary(k => k.Name, StringComparer.Ordinal);
        private readonly Dictionary<(string, ObjectName), ManifestObject> _last = (last?.Objects ?? []).GroupBy(o => (o.Kind, o.Value.Key)).ToDictionary(g => g.Key, g => g.First());

        private ImmutableArray<ManifestObject>.Builder Objects { get; } = ImmutableArray.CreateBuilder<ManifestObject>();

        public ImmutableArray<ManifestFault>.Builder Faults { get; } = ImmutableArray.CreateBuilder<ManifestFault>();

        private HashSet<string> Ignored { get; } = new(StringComparer.Ordinal);

        public ManifestFile Result() => new(path, Objects.ToImmutable(), Faults.ToImmutable(), [.. Ignored.Order(StringComparer.Ordinal)]);

        public void Document(Func<YamlValue?> parse)
        {
            try
            {
                switch (parse())
                {
                    case null:
                        break;
                    case YamlMapping mapping:
                        Item(mapping, null);
                        break;
                    case var other:
                        Faults.Add(new(path, other.Line, "is not a Kubernetes object: it needs apiVersion, kind and metadata", null));
                        break;
                }
            }
            catch (YamlFaultException e)
            {
                Faults.Add(new(path, e.Line, e.Message, null));
            }
        }

        private void Item(YamlMapping item, string? listedKind)
        {
            var kind = Word(item["kind"]) ?? listedKind;
            if (kind is null)
            {
                Faults.Add(new(path, item.Line, "has no kind", null));
                return;
            }

            if (kind == "List" || (kind.EndsWith("List", StringComparison.Ordinal) && _kinds.ContainsKey(kind[..^4])))
            {
                Items(item["items"], kind == "List" ? null : kind[..^4], item.Line);
                return;
            }

            var apiVersion = Word(item["apiVersion"]);
            if (!_kinds.TryGetValue(kind, out var known) || (apiVersion is not null && Kind.GroupOf(apiVersion) is { Length: > 0 } group && group != known.Group && listedKind is null))
            {
                // A folder may hold a whole application, and others have a kind Service too (serving.knative.dev).
                Ignored.Add($"{apiVersion} {kind}");
            }
            else if (apiVersion == known.ApiVersion || listedKind is not null)
            {
                Add(item, known);
            }
            else
            {
                Faults.Add(new(path, item.Line, $"is a {kind} of apiVersion '{apiVersion}', which is not read: write {known.ApiVersion}", null));
            }
        }

        private void Items(YamlValue? items, string? kind, long line)
        {
            if (items is not YamlSequence sequence)
            {
                if (items is not (null or YamlScalar { IsNull: true }))
                {
                    Faults.Add(new(path, line, "has items that are no list", null));
                }

                return;
            }

            foreach (var item in sequence.Items)
            {
                if (item is YamlMapping mapping)
                {
                    Item(mapping, kind);
                }
                else
                {
                    Faults.Add(new(path, item.Line, "is an item that is no object", null));
                }
            }
        }

        private void Add(YamlMapping item, Kind kind)
        {
            if (kind.IsNamespaced && item["metadata"] is YamlMapping metadata && metadata["namespace"] is null)
            {
                var named = metadata with { Entries = [.. metadata.Entries, new("namespace", metadata.Mark, new YamlScalar(metadata.Mark, "default", Quoted: true))] };
                item = item with { Entries = [.. item.Entries.Select(e => ReferenceEquals(e.Value, metadata) ? e with { Value = named } : e)] };
            }

            var name = Name(item);
            try
            {
                var (value, fault) = kind.ReadAny(YamlJson.Write(item, ObjectReader.LargestObject).Span);
                if (value is null)
                {
                    Faults.Add(new(path, YamlJson.LineOf(item, fault!.Path), $"{kind.Name} {name} {fault.Message}", (kind.Name, name)));
                    return;
                }

                var known = _last.GetValueOrDefault((kind.Name, value.Key));
                Objects.Add(new(kind.Name, known is not null && kind.Same(known.Value, value) ? known.Value : value, path, item.Line));
            }
            catch (YamlFaultException e)
            {
                Faults.Add(new(path, e.Line, $"{kind.Name} {name} {e.Message}", (kind.Name, name)));
            }
        }

        private static ObjectName Name(YamlMapping item) => item["metadata"] is YamlMapping metadata
            ? new(Word(metadata["namespace"]) ?? "", Word(metadata["name"]) ?? "")
            : default;

        private static string? Word(YamlValue? value) => value is YamlScalar { Text: { Length: > 0 } text } ? text : null;
    }
}
