using System.Net;
using System.Text.Json;
using EdgeMesh.Kubernetes.Api;

namespace EdgeMesh.Kubernetes.Watching;

internal enum WatchEventType
{
    Added,
    Modified,
    Deleted,
    Bookmark,
}

/// <summary>One line of a watch: <c>{"type":"ADDED","object":{…}}</c>.</summary>
/// <param name="Object">Where the object stands in the line.</param>
internal readonly record struct WatchLine(WatchEventType Type, Range Object)
{
    /// <exception cref="ApiFaultException">The line is no event, or it is the server's ERROR.</exception>
    public static WatchLine Parse(ReadOnlySpan<byte> line)
    {
        string? type = null;
        Range? found = null;
        try
        {
            var reader = new Utf8JsonReader(line);
            reader.Read();
            while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
            {
                var isType = reader.ValueTextEquals("type"u8);
                var isObject = reader.ValueTextEquals("object"u8);
                reader.Read();
                if (isType && reader.TokenType == JsonTokenType.String)
                {
                    type = reader.GetString();
                }
                else if (isObject && reader.TokenType == JsonTokenType.StartObject)
                {
                    var start = (int)reader.TokenStartIndex;
                    reader.Skip();
                    found = start..(int)reader.BytesConsumed;
                }
                else
                {
                    reader.Skip();
                }
            }

            // The rest must be read to be known to be nothing.
            reader.Read();
        }
        catch (Exception e) when (ObjectReader.IsBadInput(e))
        {
            throw new ApiFaultException($"the server sent {(line.TrimStart(" \t"u8).StartsWith("<"u8) ? "HTML" : "something that is not JSON")} in a watch", e) { ListAgain = true };
        }

        return (type, found) switch
        {
            ("ADDED", { } range) => new(WatchEventType.Added, range),
            ("MODIFIED", { } range) => new(WatchEventType.Modified, range),
            ("DELETED", { } range) => new(WatchEventType.Deleted, range),
            ("BOOKMARK", { } range) => new(WatchEventType.Bookmark, range),
            ("ERROR", { } range) => throw Error(line[range]),
            _ => throw new ApiFaultException("the server sent a line in a watch that is no event") { ListAgain = true },
        };
    }

    /// <summary>The object of a line that was cut off: its front, or nothing.</summary>
    public static ReadOnlySpan<byte> FrontOfObject(ReadOnlySpan<byte> line)
    {
        var at = line.IndexOf("\"object\""u8);
        var brace = at < 0 ? -1 : line[at..].IndexOf((byte)'{');
        return brace < 0 ? default : line[(at + brace)..];
    }

    private static ApiFaultException Error(ReadOnlySpan<byte> status)
    {
        Status? said = null;
        try
        {
            said = JsonSerializer.Deserialize(status, ObjectJson.Default.Status);
        }
        catch (Exception e) when (ObjectReader.IsBadInput(e))
        {
            // An ERROR is an ERROR, readable or not.
        }

        return new($"the server ended the watch with error {said?.Code ?? 0}: {ApiClient.OneLine(said?.Message ?? "no reason given")}")
        {
            Status = (HttpStatusCode)(said?.Code ?? 0),
            ListAgain = true,
        };
    }
}
