using System.Collections.Immutable;
using System.Globalization;
using System.Net;
using System.Net.Sockets;
using EdgeMesh.Kubernetes.Api;
using EdgeMesh.Kubernetes.Yaml;
using EdgeMesh.Linux;
using EdgeMesh.Net;

namespace EdgeMesh.Agent.Options;

/// <summary>Reads values as sigs.k8s.io/yaml does, which the Go agent used: YAML 1.1 words for true and false, numbers with
/// underscores and in other bases, a number where a text is wanted. What Go refuses (a quoted number) is refused.</summary>
internal static class ValueReaders
{
    public static bool Text(YamlValue node, FaultSink fault, out string value)
    {
        value = node is YamlScalar scalar ? scalar.Text : "";
        if (node is YamlScalar)
            return true;
        fault(node.Mark, $"wants a text, and this is {node.Noun}", "write one value on this line");
        return false;
    }

    public static bool Boolean(YamlValue node, FaultSink fault, out bool value)
    {
        value = false;
        if (node is YamlScalar { Quoted: false } scalar)
        {
            switch (scalar.Text)
            {
                case "true" or "True" or "TRUE" or "yes" or "Yes" or "YES" or "on" or "On" or "ON" or "y" or "Y":
                    value = true;
                    return true;
                case "false" or "False" or "FALSE" or "no" or "No" or "NO" or "off" or "Off" or "OFF" or "n" or "N":
                    return true;
            }
        }

        var remedy = node is YamlScalar { Quoted: true, Text: "true" or "false" } ? "take the quotes away" : "write true or false";
        fault(node.Mark, $"wants true or false, and this is {node.Noun}", remedy);
        return false;
    }

    public static ValueReader<int> Integer(int min, int max) => (YamlValue node, FaultSink fault, out int value) =>
    {
        value = 0;
        if (node is not YamlScalar { Quoted: false } scalar || !TryInteger(scalar.Text, out var number))
        {
            var remedy = node is YamlScalar { Quoted: true } ? "take the quotes away" : "write digits only";
            fault(node.Mark, $"wants a whole number, and this is {node.Noun}", remedy);
            return false;
        }

        if (number < min || number > max)
        {
            fault(node.Mark, $"{number} is out of range", $"choose a number from {min} to {max}");
            return false;
        }

        value = (int)number;
        return true;
    };

    public static bool Number(YamlValue node, FaultSink fault, out double value)
    {
        value = 0;
        if (node is YamlScalar { Quoted: false } scalar
            && double.TryParse(scalar.Text, NumberStyles.Float, CultureInfo.InvariantCulture, out value)
            && double.IsFinite(value))
        {
            return true;
        }

        fault(node.Mark, $"wants a number, and this is {node.Noun}", "write digits, with a point if need be");
        return false;
    }

    /// <summary>Go's durations: <c>25s</c>, <c>1m30s</c>, <c>500ms</c>.</summary>
    public static ValueReader<TimeSpan> Duration(TimeSpan min, TimeSpan max) => (YamlValue node, FaultSink fault, out TimeSpan value) =>
    {
        value = default;
        if (node is not YamlScalar scalar || !GoDuration.TryParse(scalar.Text, out value))
        {
            var remedy = node is YamlScalar { Text: var text } && int.TryParse(text, out _) ? $"say the unit: {text}s" : "write it like 25s or 1m30s";
            fault(node.Mark, $"wants a duration, and this is {node.Noun}", remedy);
            return false;
        }

        if (value < min || value > max)
        {
            fault(node.Mark, $"{GoDuration.Format(value)} is out of range", $"choose from {GoDuration.Format(min)} to {GoDuration.Format(max)}");
            return false;
        }

        return true;
    };

    public static ValueReader<TEnum> Word<TEnum>(IReadOnlyDictionary<string, TEnum> words)
        where TEnum : notnull => (YamlValue node, FaultSink fault, out TEnum value) =>
    {
        value = words.Values.First();
        if (node is YamlScalar scalar && words.TryGetValue(scalar.Text, out var chosen))
        {
            value = chosen;
            return true;
        }

        var near = node is YamlScalar s ? Nearest.Of(s.Text, words.Keys) : null;
        var allowed = $"choose one of {string.Join(", ", words.Keys)}";
        fault(node.Mark, $"{node.Noun} is not a choice here", near is null ? allowed : $"{allowed}; nearest is {near}");
        return false;
    };

    /// <param name="combine">What two of the words mean together.</param>
    public static ValueReader<TEnum> Words<TEnum>(IReadOnlyDictionary<string, TEnum> words, Func<TEnum, TEnum, TEnum> combine)
        where TEnum : struct => (YamlValue node, FaultSink fault, out TEnum value) =>
    {
        value = default;
        if (node is not YamlSequence { Items.Count: > 0 } list)
        {
            fault(node.Mark, $"wants a list of words, and this is {(node is YamlSequence ? "an empty one" : node.Noun)}", $"name some of {string.Join(", ", words.Keys)}");
            return false;
        }

        var good = true;
        var read = Word(words);
        foreach (var item in list.Items)
        {
            good &= read(item, fault, out var word);
            value = combine(value, word);
        }

        return good;
    };

    public static bool IpAddress(YamlValue node, FaultSink fault, out IPAddress value)
    {
        value = IPAddress.None;
        if (node is YamlScalar scalar && InetAddress.TryParse(scalar.Text, out var parsed))
        {
            value = parsed.ToIPAddress();
            return true;
        }

        fault(node.Mark, $"wants an IP address, and this is {node.Noun}", "write it like 169.254.96.16");
        return false;
    }

    public static bool ListenAddress(YamlValue node, FaultSink fault, out IPEndPoint value)
    {
        value = new IPEndPoint(IPAddress.None, 0);
        var text = node is YamlScalar scalar ? scalar.Text : "";
        if (text.StartsWith("localhost:", StringComparison.OrdinalIgnoreCase))
            text = "127.0.0.1" + text["localhost".Length..];
        if (text.Contains(':') && IPEndPoint.TryParse(text, out var parsed) && parsed.Port > 0
            && (parsed.AddressFamily == AddressFamily.InterNetworkV6 || InetAddress.TryParse(text[..text.LastIndexOf(':')], out _)))
        {
            value = parsed;
            return true;
        }

        fault(node.Mark, $"wants an address and a port from 1 to 65535, and this is {node.Noun}", "write it like 127.0.0.1:9999");
        return false;
    }

    public static bool TextList(YamlValue node, FaultSink fault, out ImmutableArray<string> value)
    {
        value = [];
        if (node is not YamlSequence list)
        {
            fault(node.Mark, $"wants a list, and this is {node.Noun}", "begin each item on its own line with '- '");
            return false;
        }

        var good = true;
        var items = ImmutableArray.CreateBuilder<string>();
        foreach (var item in list.Items)
        {
            good &= Text(item, fault, out var text);
            items.Add(text);
        }

        value = items.ToImmutable();
        return good;
    }

    public static bool Services(YamlValue node, FaultSink fault, out ImmutableArray<ObjectName> value)
    {
        value = [];
        if (!TextList(node, fault, out var texts))
            return false;
        var items = ((YamlSequence)node).Items;
        var names = ImmutableArray.CreateBuilder<ObjectName>();
        var good = true;
        for (var i = 0; i < texts.Length; i++)
        {
            var parts = texts[i].Split('/');
            if (parts.Length != 2 || !parts.All(KubernetesNames.IsLabel))
            {
                fault(items[i].Mark, $"'{texts[i]}' does not name a service", "write NAMESPACE/NAME, like kube-system/kube-dns");
                good = false;
                continue;
            }

            var name = new ObjectName(parts[0], parts[1]);
            if (names.Contains(name))
            {
                fault(items[i].Mark, $"'{name}' stands here twice", "remove one of the two");
                good = false;
            }

            names.Add(name);
        }

        value = names.ToImmutable();
        return good;
    }

    private static bool TryInteger(string text, out long value)
    {
        value = 0;
        var digits = text.Replace("_", "", StringComparison.Ordinal);
        var negative = digits.StartsWith('-');
        if (negative || digits.StartsWith('+'))
            digits = digits[1..];
        if (digits.Length is 0 or > 40 || !char.IsAsciiDigit(digits[0]))
            return false;
        var (body, radix) = digits switch
        {
            ['0', 'x' or 'X', ..] => (digits[2..], 16),
            ['0', 'b' or 'B', ..] => (digits[2..], 2),
            ['0', 'o' or 'O', ..] => (digits[2..], 8),
            ['0', _, ..] when digits.All(char.IsAsciiDigit) => (digits[1..], 8),
            _ => (digits, 10),
        };
        if (radix == 10)
        {
            // 1e3 and 25.0 are numbers to YAML, and whole.
            if (!double.TryParse(body, NumberStyles.Float, CultureInfo.InvariantCulture, out var number)
                || Math.Abs(number) > 1e15 || number != Math.Truncate(number))
            {
                return false;
            }

            value = (long)number;
        }
        else
        {
            foreach (var c in body)
            {
                var digit = char.IsAsciiHexDigit(c) ? Convert.ToInt32(c.ToString(), 16) : radix;
                if (digit >= radix || value > int.MaxValue)
                    return false;
                value = (value * radix) + digit;
            }
        }

        value = negative ? -value : value;
        return true;
    }
}
