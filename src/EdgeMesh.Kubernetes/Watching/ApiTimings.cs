namespace EdgeMesh.Kubernetes.Watching;

/// <summary>Every wait of the list/watch client. Tests shorten them.</summary>
internal sealed record ApiTimings
{
    /// <summary>Request sent until headers seen. A metaServer asks the cloud for up to 10 s first.</summary>
    public TimeSpan Answer { get; init; } = TimeSpan.FromSeconds(30);

    /// <summary>Longest silence inside a list.</summary>
    public TimeSpan ListSilence { get; init; } = TimeSpan.FromSeconds(30);

    /// <summary>Longest silence of an API server's watch, which sends a bookmark each minute.</summary>
    public TimeSpan WatchSilence { get; init; } = TimeSpan.FromMinutes(3);

    /// <summary>Longest silence of a metaServer's watch, which sends no bookmarks; the periodic list covers the meantime.</summary>
    public TimeSpan MetaServerSilence { get; init; } = TimeSpan.FromMinutes(15);

    /// <summary>What we ask the server to end a watch after, chosen between these: ends must not come in step.</summary>
    public (int From, int To) WatchSeconds { get; init; } = (300, 600);

    public (TimeSpan From, TimeSpan To) Relist { get; init; } = (TimeSpan.FromSeconds(30), TimeSpan.FromSeconds(60));

    /// <summary>How soon a metaServer is listed after it reported a deletion or a watch ended.</summary>
    public TimeSpan PromptRelist { get; init; } = TimeSpan.FromSeconds(2);

    /// <summary>While only its local database answers: soon enough that the cloud's return is seen within a minute.</summary>
    public (TimeSpan From, TimeSpan To) RelistOffline { get; init; } = (TimeSpan.FromSeconds(10), TimeSpan.FromSeconds(20));

    /// <summary>Shortest time between two openings of all watches of a metaServer because a list found what they missed.</summary>
    public TimeSpan Reopen { get; init; } = TimeSpan.FromSeconds(10);

    /// <summary>Between two tries to reach a server that cannot be reached: a refused connection costs nobody anything.</summary>
    public (TimeSpan From, TimeSpan To) Unreachable { get; init; } = (TimeSpan.FromMilliseconds(500), TimeSpan.FromMilliseconds(1000));

    /// <summary>Between two looks at the files that say which server it is. Each request looks too.</summary>
    public TimeSpan AccessLook { get; init; } = TimeSpan.FromSeconds(10);

    /// <summary>Between two questions for a kind that the cluster lacks. Who installs an extension waits as long for it.</summary>
    public (TimeSpan From, TimeSpan To) Lacking { get; init; } = (TimeSpan.FromSeconds(30), TimeSpan.FromSeconds(60));

    public TimeSpan FirstBackoff { get; init; } = TimeSpan.FromMilliseconds(200);

    public TimeSpan LongestBackoff { get; init; } = TimeSpan.FromSeconds(30);

    /// <summary>A watch that lasted this long counts as a success whatever ended it.</summary>
    public TimeSpan Steady { get; init; } = TimeSpan.FromSeconds(5);

    /// <summary>Shortest time between two published views.</summary>
    public TimeSpan Publish { get; init; } = TimeSpan.FromMilliseconds(20);

    /// <summary>Shortest time between two writes of the cache.</summary>
    public TimeSpan CacheWrite { get; init; } = TimeSpan.FromSeconds(10);
}
