using System.Globalization;

namespace EdgeMesh.Agent.Hosting.Handover;

/// <summary>The agent that runs already, seen from the one that takes over. It may end at any time: then every step is
/// done at once, since there is nobody left to wait for.</summary>
internal sealed class Predecessor : IDisposable
{
    private static readonly TimeSpan AnswerDeadline = TimeSpan.FromSeconds(2);

    /// <summary>A reconciler in the middle of a large sync ends within this time.</summary>
    private static readonly TimeSpan FreezeDeadline = TimeSpan.FromSeconds(30);
    private static readonly TimeSpan ReleaseDeadline = TimeSpan.FromSeconds(15);
    private static readonly TimeSpan CloseDeadline = TimeSpan.FromSeconds(15);

    private readonly HandoverLine _line;

    private Predecessor(HandoverLine line, string identity, string? version)
    {
        _line = line;
        Identity = identity;
        CanHandOver = version == HandoverWords.Version;
    }

    /// <summary>As it calls itself, or what the kernel says of it.</summary>
    public string Identity { get; }

    /// <summary>False for a release that speaks another version of the protocol, or none.</summary>
    public bool CanHandOver { get; }

    /// <returns>Null when nobody is there.</returns>
    public static async Task<Predecessor?> MeetAsync(TimeProvider time, CancellationToken cancellationToken)
    {
        var line = await InstanceSocket.VisitAsync(time, cancellationToken);
        if (line is null)
            return null;
        try
        {
            var peer = line.Peer;
            if (!peer.IsTrusted)
            {
                return new Predecessor(
                    line, string.Create(CultureInfo.InvariantCulture, $"process {peer.ProcessId} of user {peer.UserId}, which is no agent of this node but holds its name"), null);
            }

            var identity = await line.ReadAsync(AnswerDeadline, cancellationToken);
            var version = identity is null ? null : await line.ReadAsync(AnswerDeadline, cancellationToken);
            return new Predecessor(line, identity ?? $"process {peer.ProcessId}, which does not answer", version);
        }
        catch
        {
            line.Dispose();
            throw;
        }
    }

    /// <exception cref="AgentStartException">It refuses.</exception>
    public Task FreezeAsync(CancellationToken cancellationToken) =>
        SayAsync(HandoverWords.Freeze, HandoverWords.Frozen, FreezeDeadline, cancellationToken);

    /// <exception cref="AgentStartException">It refuses.</exception>
    public Task ReleaseAsync(CancellationToken cancellationToken) =>
        SayAsync(HandoverWords.Release, HandoverWords.Released, ReleaseDeadline, cancellationToken);

    /// <summary>From here on there is no way back.</summary>
    public Task StandAsync(CancellationToken cancellationToken) =>
        SayAsync(HandoverWords.Standing, HandoverWords.Closed, CloseDeadline, cancellationToken);

    public void Dispose() => _line.Dispose();

    private async Task SayAsync(string word, string expected, TimeSpan deadline, CancellationToken cancellationToken)
    {
        var answer = await _line.WriteAsync(word, cancellationToken) ? await _line.ReadAsync(deadline, cancellationToken) : null;
        if (answer?.StartsWith(HandoverWords.Refused, StringComparison.Ordinal) == true)
            throw new AgentStartException($"The agent that runs here ({Identity}) does not hand over: {answer[HandoverWords.Refused.Length..]}.");
        if (answer is null && !_line.IsGone && word != HandoverWords.Standing)
            throw new AgentStartException($"The agent that runs here ({Identity}) does not answer, so it cannot hand over. End it (kill -9 if it hangs), and start this one again.");
        if (answer is not null && answer != expected)
            throw new AgentStartException($"The agent that runs here ({Identity}) answered '{answer}' where '{expected}' was due; stop it, and start this one again.");
    }
}
