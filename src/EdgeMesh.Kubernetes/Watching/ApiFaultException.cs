using System.Net;

namespace EdgeMesh.Kubernetes.Watching;

/// <summary>An answer of the outside world that cannot be used: the only exception that reading one may throw.</summary>
internal sealed class ApiFaultException(string message, Exception? inner = null) : Exception(message, inner)
{
    /// <summary>Null when the fault is not an HTTP status.</summary>
    public HttpStatusCode? Status { get; init; }

    /// <summary>Nobody answered at all.</summary>
    public bool Unreachable { get; init; }

    /// <summary>How long the server asked to be left alone.</summary>
    public TimeSpan? RetryAfter { get; init; }

    /// <summary>Our resourceVersion or continue token is too old: list again.</summary>
    public bool IsExpired => Status == HttpStatusCode.Gone;

    /// <summary>The bytes were not what the API speaks: events may be lost, so a watch from the last version would not heal it.</summary>
    public bool ListAgain { get; init; }
}
