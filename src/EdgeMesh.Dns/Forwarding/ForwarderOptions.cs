namespace EdgeMesh.Dns.Forwarding;

public sealed record ForwarderOptions
{
    /// <summary>Questions that are asked at one time; each holds one socket, and another one with each further upstream.</summary>
    public int MaxPending { get; init; } = 1_024;

    /// <summary>Requests of one client address that wait at one time.</summary>
    public int MaxPendingOfClient { get; init; } = 256;

    /// <summary>Requests that wait at one time.</summary>
    public int MaxWaiters { get; init; } = 8_192;

    /// <summary>After this a question is given up: clients ask again after five seconds, most of them somebody else.</summary>
    public TimeSpan GiveUpAfter { get; init; } = TimeSpan.FromSeconds(4.5);

    /// <summary>RFC 8767, 5: the client response timer.</summary>
    public TimeSpan StaleAfter { get; init; } = TimeSpan.FromSeconds(1.8);

    /// <summary>Messages to upstreams for one question at most.</summary>
    public int MaxAttempts { get; init; } = 6;
}
