using System.Text.Json.Nodes;

namespace EdgeMesh.Testing.ApiServer;

/// <summary>Label selectors of the forms key, !key, key=value, key!=value; field selectors on metadata.name and namespace.</summary>
internal static class Selector
{
    public static bool Matches(JsonObject value, RecordedRequest request)
    {
        var metadata = value["metadata"]!.AsObject();
        var labels = metadata["labels"] as JsonObject ?? [];
        return Requirements(request, "labelSelector").All(r => Matches(r, key => (string?)labels[key]))
            && Requirements(request, "fieldSelector").All(r => Matches(r, field => (string?)metadata[field["metadata.".Length..]]));
    }

    private static string[] Requirements(RecordedRequest request, string name) =>
        request.Query.GetValueOrDefault(name, "").Split(',', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries);

    private static bool Matches(string requirement, Func<string, string?> valueOf)
    {
        if (requirement[0] == '!')
        {
            return valueOf(requirement[1..]) is null;
        }

        var parts = requirement.Split("!=");
        if (parts.Length == 2)
        {
            return valueOf(parts[0]) != parts[1];
        }

        parts = requirement.Split('=', StringSplitOptions.RemoveEmptyEntries);
        return parts.Length == 2 ? valueOf(parts[0]) == parts[1] : valueOf(requirement) is not null;
    }
}
