using System.Text;
using System.Text.Json.Nodes;
using Microsoft.AspNetCore.Http;

namespace EdgeMesh.Testing.ApiServer;

public sealed partial class TestApiServer
{
    private static readonly TimeSpan Look = TimeSpan.FromMilliseconds(50);

    /// <summary>Without its cloud: a selfLink where there are objects, no metadata where there are none, no limit.</summary>
    private Task ListLocallyAsync(HttpContext context, RecordedRequest request, string apiVersion, string kind)
    {
        var objects = request.Query.ContainsKey("fieldSelector") ? [] : Edge.Objects(request.Plural).Where(o => Selector.Matches(o, request)).ToList();
        var list = new JsonObject { ["apiVersion"] = apiVersion, ["items"] = new JsonArray([.. objects.Select(o => o.DeepClone())]), ["kind"] = kind + "List" };
        if (objects.Count > 0)
        {
            list["metadata"] = new JsonObject { ["resourceVersion"] = $"{objects.Max(Version)}", ["selfLink"] = $"/core/{apiVersion}/{request.Plural}/null/null" };
        }

        context.Response.ContentType = "application/json";
        return context.Response.WriteAsync(list.ToJsonString(), Encoding.UTF8, context.RequestAborted);
    }

    /// <summary>Replays the local database as it is now, then tells what the cloud says, as long as this watch is registered there.</summary>
    private async Task WatchAtEdgeAsync(HttpContext context, RecordedRequest request)
    {
        var stop = context.RequestAborted;
        using var deadline = CancellationTokenSource.CreateLinkedTokenSource(stop);
        if (int.TryParse(request.Query.GetValueOrDefault("timeoutSeconds"), out var seconds))
        {
            deadline.CancelAfter(TimeSpan.FromSeconds(seconds));
        }

        Edge.Watched(request.Plural);
        var registration = Edge.Registration;
        var registered = Edge.Connected;
        var version = Store.Version;
        context.Response.ContentType = "application/json";
        foreach (var item in Edge.Objects(request.Plural).Where(o => Selector.Matches(o, request)))
        {
            await WriteAsync(context, "ADDED", item);
        }

        await context.Response.Body.FlushAsync(stop);
        while (true)
        {
            var changed = Store.Changed;
            if (registered && Edge.Connected && registration == Edge.Registration)
            {
                foreach (var change in Store.Since(request.Plural, version) ?? [])
                {
                    version = change.Version;
                    if (!_lost.ContainsKey((change.Plural, (string)change.Object["metadata"]!["name"]!)))
                    {
                        await WriteAsync(context, Selector.Matches(change.Object, request) ? change.Type : "DELETED", change.Object);
                    }
                }

                await context.Response.Body.FlushAsync(stop);
            }

            try
            {
                await changed.WaitAsync(registered ? _options.BookmarkInterval : Look, deadline.Token);
            }
            catch (TimeoutException)
            {
                // Nothing to say: it sends no bookmarks.
            }
            catch (OperationCanceledException) when (!stop.IsCancellationRequested)
            {
                return;
            }
        }
    }

    private static long Version(JsonObject value) => long.Parse((string)value["metadata"]!["resourceVersion"]!);
}
