namespace EdgeMesh.Agent.Hosting;

/// <summary>How the descriptor limit is shared out.</summary>
/// <param name="Connections">At least 1; a connection needs two descriptors.</param>
/// <param name="Flows">UDP flows of each listener, at least 1; a flow needs one.</param>
/// <param name="PipesPerLoop">A pipe needs two; a connection without one copies.</param>
internal readonly record struct ConnectionBudget(int Connections, int Flows, int PipesPerLoop)
{
    /// <summary>What the agent would like to have open; a million is more than two cores can serve.</summary>
    public const long WantedDescriptors = 1_048_576;

    /// <summary>Runtime, logs, API connections, listeners, rule commands. Where few are allowed it is half of them.</summary>
    private const int Reserve = 512;

    /// <param name="connections">As configured; null: as many as fit.</param>
    /// <param name="flows">The most flows of each listener, as configured.</param>
    /// <param name="pipesPerLoop">As many as are of use.</param>
    public static ConnectionBudget Of(long descriptors, int? connections, int flows, int listeners, int pipesPerLoop, int loops)
    {
        // Flows take half of what is free at most, and pipes an eighth.
        var free = Math.Max(0, descriptors - Math.Min(Reserve, descriptors / 2));
        var flowsFit = Math.Min((long)flows * listeners, free / 2) / Math.Max(1, listeners);
        var pipesFit = Math.Min((long)pipesPerLoop * loops, free / 16) / Math.Max(1, loops);
        var fit = Math.Clamp((free - (flowsFit * listeners) - (2 * pipesFit * loops)) / 2, 1, int.MaxValue / 2);
        return new ConnectionBudget((int)Math.Min(connections ?? fit, fit), (int)Math.Max(1, flowsFit), (int)pipesFit);
    }
}
