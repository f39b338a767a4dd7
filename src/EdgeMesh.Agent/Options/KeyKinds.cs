using System.Collections.Immutable;
using System.Net;
using EdgeMesh.Kubernetes.Yaml;
using static System.FormattableString;

namespace EdgeMesh.Agent.Options;

/// <summary>The kinds of values that keys have.</summary>
internal static class KeyKinds
{
    public static ConfigKey<string> Text(string path, string defaultValue, string doc, string? reason = null, bool live = false) =>
        new(path, "text", defaultValue, doc, ValueReaders.Text, Quote) { Reason = reason, Live = live };

    public static ConfigKey<bool> Boolean(string path, bool defaultValue, string doc, string? reason = null, bool live = false) =>
        new(path, "true or false", defaultValue, doc, ValueReaders.Boolean, v => v ? "true" : "false") { Reason = reason, Live = live };

    public static ConfigKey<int> Port(string path, int defaultValue, string doc, string? reason = null, bool live = false) =>
        new(path, "port", defaultValue, doc, ValueReaders.Integer(1, 65535), v => Invariant($"{v}")) { Reason = reason, Live = live };

    public static ConfigKey<int> Integer(string path, int defaultValue, int min, int max, string doc, string? reason = null, bool live = false) =>
        new(path, Invariant($"{min} to {max}"), defaultValue, doc, ValueReaders.Integer(min, max), v => Invariant($"{v}")) { Reason = reason, Live = live };

    public static ConfigKey<double> Number(string path, double defaultValue, string doc, string? reason = null, bool live = false) =>
        new(path, "number", defaultValue, doc, ValueReaders.Number, v => Invariant($"{v}")) { Reason = reason, Live = live };

    public static ConfigKey<TimeSpan> Duration(string path, TimeSpan defaultValue, TimeSpan min, TimeSpan max, string doc, string? reason = null, bool live = false) =>
        new(path, "duration", defaultValue, doc, ValueReaders.Duration(min, max), GoDuration.Format) { Reason = reason, Live = live };

    public static ConfigKey<IPAddress> Address(string path, string defaultValue, string doc, ValueReader<IPAddress>? reader = null) =>
        new(path, "IP address", IPAddress.Parse(defaultValue), doc, reader ?? ValueReaders.IpAddress, v => v.ToString());

    public static ConfigKey<ImmutableArray<string>> TextList(string path, string doc, string? reason = null, bool live = false) =>
        new(path, "list", [], doc, ValueReaders.TextList, v => $"[{string.Join(", ", v.Select(Quote))}]") { Reason = reason, Live = live };

    public static ConfigKey<TEnum> Word<TEnum>(string path, TEnum defaultValue, IReadOnlyDictionary<string, TEnum> words, string doc, string? reason = null, bool live = false)
        where TEnum : notnull =>
        new(path, string.Join(" | ", words.Keys), defaultValue, doc, ValueReaders.Word(words), v => words.First(w => w.Value.Equals(v)).Key) { Reason = reason, Live = live };

    public static ValueReader<T> Where<T>(ValueReader<T> reader, Func<T, bool> good, string what, string remedy) =>
        (YamlValue node, FaultSink fault, out T value) =>
        {
            if (!reader(node, fault, out value))
                return false;
            if (good(value))
                return true;
            fault(node.Mark, what.Replace("{}", node.Noun, StringComparison.Ordinal), remedy);
            return false;
        };

    public static string Quote(string text) =>
        text.Length > 0 && text.All(c => char.IsAsciiLetterOrDigit(c) || c is '/' or '.' or '-' or '_') && !char.IsAsciiDigit(text[0])
            ? text
            : $"\"{text.Replace("\\", "\\\\", StringComparison.Ordinal).Replace("\"", "\\\"", StringComparison.Ordinal)}\"";
}
