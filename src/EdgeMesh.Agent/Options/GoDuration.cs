using System.Buffers;
using System.Globalization;

namespace EdgeMesh.Agent.Options;

/// <summary>The duration text of Go and Kubernetes: <c>1h15m30.5s</c>, <c>300ms</c>; <c>0</c> alone needs no unit.</summary>
internal static class GoDuration
{
    private static readonly SearchValues<char> NumberCharacters = SearchValues.Create("0123456789.");

    private static readonly (string Unit, double Milliseconds)[] Units =
        [("ns", 1e-6), ("us", 1e-3), ("µs", 1e-3), ("ms", 1), ("s", 1e3), ("m", 60e3), ("h", 3600e3)];

    public static bool TryParse(string text, out TimeSpan value)
    {
        value = TimeSpan.Zero;
        if (text == "0")
            return true;
        if (text.Length is 0 or > 40)
            return false;
        var milliseconds = 0.0;
        var rest = text.AsSpan();
        while (rest.Length > 0)
        {
            var digits = rest.IndexOfAnyExcept(NumberCharacters);
            if (digits <= 0 || !double.TryParse(rest[..digits], NumberStyles.AllowDecimalPoint, CultureInfo.InvariantCulture, out var number))
                return false;
            rest = rest[digits..];
            var end = rest.IndexOfAny(NumberCharacters);
            var unit = (end < 0 ? rest : rest[..end]).ToString();
            rest = end < 0 ? [] : rest[end..];
            var known = Array.Find(Units, u => u.Unit == unit);
            if (known.Unit is null)
                return false;
            milliseconds += number * known.Milliseconds;
        }

        if (milliseconds > TimeSpan.FromDays(3650).TotalMilliseconds)
            return false;
        value = TimeSpan.FromMilliseconds(milliseconds);
        return true;
    }

    public static string Format(TimeSpan value)
    {
        if (value == TimeSpan.Zero)
            return "0s";
        if (value < TimeSpan.FromSeconds(1))
            return $"{value.TotalMilliseconds}ms";
        var text = "";
        if (value.TotalHours >= 1)
            text += $"{(int)value.TotalHours}h";
        if (value.Minutes > 0)
            text += $"{value.Minutes}m";
        var seconds = value.TotalSeconds % 60;
        return seconds > 0 ? $"{text}{Math.Round(seconds, 3)}s" : text;
    }
}
