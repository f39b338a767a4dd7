namespace EdgeMesh.Agent.Hosting;

/// <summary>How many connections fit into the descriptor limit.</summary>
internal static class ConnectionBudget
{
    /// <summary>What the agent would like to have open; a million is more than two cores can serve.</summary>
    public const long WantedDescriptors = 1_048_576;

    /// <summary>Runtime, logs, API connections, listeners, rule commands.</summary>
    private const int Reserve = 512;

    /// <param name="configured">Null: as many as fit.</param>
    /// <param name="flows">Of all listeners; one descriptor each.</param>
    /// <param name="pipes">Of all loops; two descriptors each.</param>
    /// <returns>At least 1; a connection needs two descriptors.</returns>
    public static int Connections(long descriptors, int? configured, int flows, int pipes = 0)
    {
        var fit = (int)Math.Clamp((descriptors - Reserve - flows - (2L * pipes)) / 2, 1, int.MaxValue / 2);
        return configured is { } wanted ? Math.Min(wanted, fit) : fit;
    }
}
