using YamlDotNet.Core;
using YamlDotNet.Core.Events;

namespace EdgeMesh.Kubernetes.Yaml;

public enum YamlFault
{
    /// <summary>It is YAML, and more or deeper than a reader takes, or refers to what is not there.</summary>
    Content,

    /// <summary>The parser says what is wrong, and where.</summary>
    Syntax,

    /// <summary>The parser failed over it, and names no place.</summary>
    Unexplained,
}

/// <summary>A document cannot be read. The message goes on after the name of what it is about: <c>is not YAML: …</c>.</summary>
public sealed class YamlFaultException(string message, YamlMark mark, YamlFault fault = YamlFault.Content, Exception? inner = null) : Exception(message, inner)
{
    public YamlMark Mark { get; } = mark;

    public int Line => Mark.Line;

    public YamlFault Fault { get; } = fault;
}

/// <summary>How much a reader takes of one document. Aliases and merges count as what they stand for, written out: whoever
/// walks the tree walks that. A node counts as <see cref="CharactersPerNode"/> characters beside its text.</summary>
/// <param name="Characters">Of any document, and <paramref name="PerCharacter"/> more for each character of its text.</param>
/// <param name="Excess">What is said of a document that is larger; null: how large it may be.</param>
public sealed record YamlLimits(int Depth, long Characters, int PerCharacter, string? Excess = null)
{
    /// <summary>Of one document, each of which takes a place in memory; aliases take none. 10,000 services with their slices in one list have fewer.</summary>
    public const int MostNodes = 1_000_000;

    public const int CharactersPerNode = 4;

    /// <summary>For what Kubernetes writes and reads.</summary>
    public static YamlLimits Objects { get; } = new(Depth: 64, Characters: 16 << 10, PerCharacter: 16);
}

/// <summary>What YAML lets pass, or its readers take differently: it is for them to say whether it is a fault.</summary>
public abstract record YamlOddity(YamlMark Mark)
{
    /// <summary>The second value is not taken.</summary>
    public sealed record RepeatedKey(YamlEntry First, YamlEntry Second) : YamlOddity(Second.Mark);

    /// <summary>It is left out, with its value.</summary>
    public sealed record KeyIsNoWord(YamlValue Key) : YamlOddity(Key.Mark);

    /// <summary>It is left out.</summary>
    public sealed record MergeOfNoMapping(YamlValue Value) : YamlOddity(Value.Mark);

    /// <summary>It is not read.</summary>
    public sealed record SecondDocument(YamlMark Mark) : YamlOddity(Mark);
}

/// <summary>Reads the first document of a text into nodes that know their place. An alias is the node that it names,
/// never a copy. Depth and size are bounded: a document of a million brackets or of aliases to aliases is a fault, not the
/// end of the process.</summary>
public sealed class YamlTree
{
    private readonly Parser _parser;
    private readonly YamlLimits _limits;
    private readonly Action<YamlOddity> _odd;
    private readonly int _offset;
    private readonly long _limit;
    private readonly Dictionary<string, (YamlValue Value, long Size)> _anchors = new(StringComparer.Ordinal);
    private long _size;
    private int _nodes;

    private YamlTree(string text, YamlLimits limits, Action<YamlOddity> odd, int firstLine)
    {
        _parser = new Parser(new StringReader(text));
        _limits = limits;
        _odd = odd;
        _offset = firstLine - 1;
        _limit = limits.Characters + ((long)limits.PerCharacter * text.Length);
    }

    /// <summary>Reads a document in which nothing may be odd.</summary>
    /// <returns>Null for a document that holds nothing but comments.</returns>
    /// <exception cref="YamlFaultException"/>
    public static YamlValue? Parse(string text, int firstLine = 1) => Parse(text, YamlLimits.Objects, Refuse, firstLine);

    /// <inheritdoc cref="Parse(string, int)"/>
    public static YamlValue? Parse(string text, YamlLimits limits, Action<YamlOddity> odd, int firstLine = 1)
    {
        var tree = new YamlTree(text, limits, odd, firstLine);
        try
        {
            return tree.Document();
        }
        catch (YamlException e)
        {
            var last = tree.LastGood(text);
            var mark = tree.MarkOf(e.Start);
            throw new YamlFaultException($"is not YAML: {e.InnerException?.Message ?? e.Message}", mark.Line < last.Line ? last : mark, YamlFault.Syntax, e);
        }
        // The scanner's own slips on broken text are not the agent's: it throws InvalidOperationException for a flow mapping whose
        // lines are not indented and for text after '...', and others for others.
        catch (Exception e) when (e is not (YamlFaultException or OutOfMemoryException))
        {
            throw new YamlFaultException("is not YAML from here on", tree.LastGood(text), YamlFault.Unexplained, e);
        }
    }

    private static void Refuse(YamlOddity oddity)
    {
        throw oddity switch
        {
            YamlOddity.RepeatedKey repeated => new YamlFaultException($"says '{repeated.Second.Key}' twice", oddity.Mark),
            YamlOddity.KeyIsNoWord => new YamlFaultException("has a key that is not a word", oddity.Mark),
            YamlOddity.MergeOfNoMapping => new YamlFaultException("has a '<<' with something else than a mapping", oddity.Mark),
            _ => new YamlFaultException("holds a second document without a '---' line before it", oddity.Mark),
        };
    }

    /// <summary>Up to where the parser understood the text: some of its exceptions name only the first line, and some none.</summary>
    private YamlMark LastGood(string text)
    {
        var last = new YamlMark(_offset + 1, 1);
        try
        {
            var parser = new Parser(new StringReader(text));
            while (parser.MoveNext())
                last = MarkOf(parser.Current!.End);
        }
        catch (Exception e) when (e is not OutOfMemoryException)
        {
            // The fault that is being located.
        }

        return last;
    }

    private YamlMark MarkOf(Mark mark) => new(_offset + (int)Math.Max(1, mark.Line), (int)Math.Max(1, mark.Column));

    private YamlValue? Document()
    {
        _parser.Consume<StreamStart>();
        if (!_parser.TryConsume<DocumentStart>(out _))
            return null;
        var root = Node(0);
        _parser.Consume<DocumentEnd>();
        if (_parser.Current is not (StreamEnd or null))
            _odd(new YamlOddity.SecondDocument(MarkOf(_parser.Current.Start)));
        return root is YamlScalar { Quoted: false, Text.Length: 0 } ? null : root;
    }

    private YamlValue Node(int depth)
    {
        var mark = MarkOf(_parser.Current?.Start ?? Mark.Empty);
        if (depth > _limits.Depth)
            throw new YamlFaultException($"is nested deeper than {_limits.Depth} levels", mark);
        if (_parser.TryConsume<AnchorAlias>(out var alias))
        {
            // An anchor is known once its node is complete: a node that contains itself is refused here.
            if (!_anchors.TryGetValue(alias.Value.Value, out var target))
                throw new YamlFaultException($"has the alias *{alias.Value.Value}, which names no anchor above it", mark);
            Count(target.Size, mark);
            return target.Value;
        }

        if (++_nodes > YamlLimits.MostNodes)
            throw TooMany(mark);
        var before = _size;
        Count(YamlLimits.CharactersPerNode, mark);
        var (value, anchor) = Content(depth, mark);
        if (!anchor.IsEmpty)
            _anchors[anchor.Value] = (value, _size - before);
        return value;
    }

    internal static YamlFaultException TooMany(YamlMark mark) =>
        new($"has more than {YamlLimits.MostNodes} values in one document: make several of it", mark);

    private void Count(long size, YamlMark mark)
    {
        // Both are below the limit: their sum is no more than twice that.
        _size += size;
        if (_size > _limit)
            throw new YamlFaultException(_limits.Excess ?? $"has aliases that make it larger than {_limit >> 10} KB when they are written out", mark);
    }

    private (YamlValue Value, AnchorName Anchor) Content(int depth, YamlMark mark)
    {
        if (_parser.TryConsume<Scalar>(out var scalar))
        {
            Count(scalar.Value.Length, mark);
            var quoted = scalar.Style != ScalarStyle.Plain || (!scalar.Tag.IsEmpty && scalar.Tag.Value == "tag:yaml.org,2002:str");
            return (new YamlScalar(mark, scalar.Value, quoted), scalar.Anchor);
        }

        if (_parser.TryConsume<SequenceStart>(out var sequence))
        {
            var items = new List<YamlValue>();
            while (!_parser.TryConsume<SequenceEnd>(out _))
                items.Add(Node(depth + 1));
            return (new YamlSequence(mark, items), sequence.Anchor);
        }

        var mapping = _parser.Consume<MappingStart>();
        return (new YamlMapping(mark, Entries(depth)), mapping.Anchor);
    }

    private List<YamlEntry> Entries(int depth)
    {
        var entries = new List<YamlEntry>();
        var first = new Dictionary<string, YamlEntry>(StringComparer.Ordinal);
        var merged = new List<YamlEntry>();
        while (!_parser.TryConsume<MappingEnd>(out _))
        {
            var key = Node(depth + 1);
            var value = Node(depth + 1);
            if (key is not YamlScalar name)
                _odd(new YamlOddity.KeyIsNoWord(key));
            else if (name is { Text: "<<", Quoted: false })
                Merge(value, merged);
            else if (new YamlEntry(name.Text, name.Mark, value) is var entry && first.TryAdd(name.Text, entry))
                entries.Add(entry);
            else
                _odd(new YamlOddity.RepeatedKey(first[name.Text], entry));
        }

        entries.AddRange(merged.Where(e => first.TryAdd(e.Key, e)));
        return entries;
    }

    private void Merge(YamlValue value, List<YamlEntry> into)
    {
        foreach (var source in value is YamlSequence list ? list.Items : [value])
        {
            if (source is YamlMapping mapping)
                into.AddRange(mapping.Entries);
            else
                _odd(new YamlOddity.MergeOfNoMapping(source));
        }
    }
}
