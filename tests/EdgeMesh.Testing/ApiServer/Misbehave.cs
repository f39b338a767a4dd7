using System.Globalization;
using System.Text.Json.Nodes;
using Microsoft.AspNetCore.Http;

namespace EdgeMesh.Testing.ApiServer;

/// <summary>The ways in which servers and the things between fail.</summary>
public static class Misbehave
{
    public static Misbehaviour Status(int code, string message = "not today", int? retryAfterSeconds = null) => context =>
    {
        if (retryAfterSeconds is { } seconds)
        {
            context.Response.Headers.RetryAfter = seconds.ToString(CultureInfo.InvariantCulture);
        }

        return StatusAsync(context, code, message);
    };

    /// <summary>Status 200 and these bytes, then the end.</summary>
    public static Misbehaviour Body(string text, string contentType = "application/json") => context =>
    {
        context.Response.ContentType = contentType;
        return context.Response.WriteAsync(text, context.RequestAborted);
    };

    /// <summary>These bytes, then silence until the client leaves.</summary>
    public static Misbehaviour Stall(string text = "") => async context =>
    {
        context.Response.ContentType = "application/json";
        await context.Response.WriteAsync(text, context.RequestAborted);
        await context.Response.Body.FlushAsync(context.RequestAborted);
        await WaitForClientToLeaveAsync(context);
    };

    /// <summary>No answer at all until the client leaves.</summary>
    public static Misbehaviour Mute() => WaitForClientToLeaveAsync;

    /// <summary>These bytes, then the connection is cut.</summary>
    public static Misbehaviour Cut(string text) => async context =>
    {
        context.Response.ContentType = "application/json";
        await context.Response.WriteAsync(text, context.RequestAborted);
        await context.Response.Body.FlushAsync(context.RequestAborted);
        context.Abort();
    };

    internal static Task StatusAsync(HttpContext context, int code, string message)
    {
        context.Response.StatusCode = code;
        context.Response.ContentType = "application/json";
        var status = new JsonObject { ["kind"] = "Status", ["apiVersion"] = "v1", ["status"] = "Failure", ["message"] = message, ["code"] = code };
        return context.Response.WriteAsync(status.ToJsonString(), context.RequestAborted);
    }

    private static async Task WaitForClientToLeaveAsync(HttpContext context)
    {
        var left = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        await using var registration = context.RequestAborted.Register(left.SetResult);
        await left.Task;
    }
}
