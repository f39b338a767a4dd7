namespace EdgeMesh.Dns.Serving;

/// <summary>What a server did. Written by its thread alone; any thread may read.</summary>
public sealed class DnsCounters
{
    private readonly long[] _sources = new long[Enum.GetValues<AnswerSource>().Length];
    private readonly long[] _codes = new long[17];
    private long _datagrams;
    private long _streams;
    private long _silent;
    private long _refusedClients;
    private long _rateLimited;
    private long _prefetches;
    private long _loops;

    public long RequestsByUdp => Volatile.Read(ref _datagrams);

    public long RequestsByTcp => Volatile.Read(ref _streams);

    /// <summary>What was no request: too short, or itself a response.</summary>
    public long Ignored => Volatile.Read(ref _silent);

    /// <summary>Requests of clients that may not ask.</summary>
    public long RefusedClients => Volatile.Read(ref _refusedClients);

    /// <summary>Requests that were not answered because their client has had so many answers in this second.</summary>
    public long RateLimited => Volatile.Read(ref _rateLimited);

    public long Prefetches => Volatile.Read(ref _prefetches);

    /// <summary>Questions of this server that came back to it.</summary>
    public long Loops => Volatile.Read(ref _loops);

    public long Answered(AnswerSource source) => Volatile.Read(ref _sources[(int)source]);

    /// <param name="code">Below 16, or 16 for <see cref="Messages.ResponseCode.BadVersion"/>.</param>
    public long WithCode(int code) => Volatile.Read(ref _codes[code]);

    internal void CountRequest(bool isStream) => Count(ref isStream ? ref _streams : ref _datagrams);

    internal void CountIgnored() => Count(ref _silent);

    internal void CountRefusedClient() => Count(ref _refusedClients);

    internal void CountRateLimited() => Count(ref _rateLimited);

    internal void CountPrefetch() => Count(ref _prefetches);

    internal void CountLoop() => Count(ref _loops);

    internal void CountAnswer(AnswerSource source, int code)
    {
        Count(ref _sources[(int)source]);
        Count(ref _codes[code]);
    }

    private static void Count(ref long counter) => Volatile.Write(ref counter, counter + 1);
}
