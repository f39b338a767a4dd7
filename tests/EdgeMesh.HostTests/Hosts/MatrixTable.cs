using System.Text;

namespace EdgeMesh.HostTests.Hosts;

/// <summary>The matrix as docs/hosts.md shows it: what is the same for every backend, family and protocol is said once.</summary>
internal static class MatrixTable
{
    public static string Of(Func<MatrixField, MatrixResult> result)
    {
        var text = new StringBuilder("| host |");
        foreach (var asking in Asking.All)
            text.Append(' ').Append(asking.Name).Append(" |");
        text.Append("\n|---|").Insert(text.Length, "---|", Asking.All.Length).Append('\n');
        foreach (var kind in HostKind.Chosen)
        {
            text.Append("| ").Append(kind.Name).Append(" |");
            foreach (var asking in Asking.All)
                text.Append(' ').Append(Shown([.. HostMatrix.Fields.Where(field => field.Kind == kind && field.Asking == asking)], result)).Append(" |");
            text.Append('\n');
        }

        return text.ToString();
    }

    /// <summary>What most of them see; then who sees something else.</summary>
    private static string Shown(MatrixField[] fields, Func<MatrixField, MatrixResult> result)
    {
        var seen = fields.GroupBy(field => result(field).ToString()).OrderByDescending(group => group.Count()).ThenBy(group => group.Key, StringComparer.Ordinal).ToList();
        return string.Join("; ", seen.Select((group, i) => i == 0 ? group.Key : $"{Who([.. group], fields)}: {group.Key}"));
    }

    private static string Who(MatrixField[] some, MatrixField[] all)
    {
        string[] parts =
        [
            Part(some, all, field => field.Backend.Name),
            Part(some, all, field => field.IPv6 ? "IPv6" : "IPv4"),
            Part(some, all, field => field.Udp ? "UDP" : "TCP"),
        ];
        var named = parts.Where(part => part.Length > 0).ToArray();
        return named.Length == 0 ? "some" : string.Join(" ", named);
    }

    private static string Part(MatrixField[] some, MatrixField[] all, Func<MatrixField, string> name)
    {
        var names = some.Select(name).Distinct().ToArray();
        return names.Length == all.Select(name).Distinct().Count() ? "" : string.Join(" and ", names);
    }
}
