using System.Globalization;
using EdgeMesh.Linux;
using EdgeMesh.Linux.Sockets;

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

    /// <summary>Of so many sockets each; more than any node has cores for.</summary>
    private const int MostSocketLines = 64;

    private static readonly TimeSpan ConnectRetry = TimeSpan.FromMilliseconds(50);

    /// <summary>Who has not proved the right to be here gets no more of a start's time than this for each step.</summary>
    private static readonly TimeSpan UnprovenDeadline = TimeSpan.FromSeconds(5);

    private readonly HandoverLine _line;
    private readonly NodeClaim? _claim;
    private bool _ignored;

    private Predecessor(HandoverLine line, NodeClaim? claim, string identity, string? version, bool isProven)
    {
        _line = line;
        _claim = claim;
        Identity = identity;
        IsProven = isProven;
        SharesSockets = version?.StartsWith(HandoverWords.Version + " ", StringComparison.Ordinal) == true;
        CanHandOver = SharesSockets || version == HandoverWords.FirstVersion;
        if (SharesSockets && int.TryParse(version.AsSpan(HandoverWords.Version.Length + 1), NumberStyles.None, CultureInfo.InvariantCulture, out var port))
            ListenPort = port;
    }

    /// <summary>As it calls itself, or what the kernel says of it.</summary>
    public string Identity { get; }

    /// <summary>False for a release that speaks another version of the protocol, or none.</summary>
    public bool CanHandOver { get; }

    /// <summary>False for release 0.1.0: both listen at one port with sockets of their own then.</summary>
    public bool SharesSockets { get; }

    /// <summary>0: it does not say.</summary>
    public int ListenPort { get; }

    /// <summary>It has CAP_NET_ADMIN here. Without that it may be an agent of release 0.1.0 in another container, or anybody:
    /// it is asked to hand over, and whatever it does, it holds up nobody.</summary>
    public bool IsProven { get; }

    /// <returns>Null when nobody is there.</returns>
    /// <exception cref="AgentStartException">An agent is there and takes no visitors.</exception>
    public static async Task<Predecessor?> MeetAsync(TimeProvider time, CancellationToken cancellationToken)
    {
        var start = time.GetTimestamp();
        while (InstanceSocket.FindHolder() is { } holder)
        {
            if (await InstanceSocket.VisitAsync(holder, time, cancellationToken) is { } line)
                return await GreetAsync(line, holder, isProven: true, cancellationToken);
            if (time.GetElapsedTime(start) > AnswerDeadline)
                throw new AgentStartException("An agent holds this node and does not answer. End it (kill -9 if it hangs), and start this one again.");
            await Task.Delay(ConnectRetry, time, cancellationToken);
        }

        return await InstanceSocket.ConnectAsync(InstanceSocket.FirstName, time, cancellationToken) is { } first
            ? await GreetFirstReleaseAsync(first, cancellationToken)
            : null;
    }

    /// <summary>Anybody can hold the name of release 0.1.0.</summary>
    private static async Task<Predecessor?> GreetFirstReleaseAsync(HandoverLine line, CancellationToken cancellationToken)
    {
        var peer = line.Peer;
        var isProven = ProcessRights.IsNetAdminHere(peer.ProcessId);
        if (isProven || (peer.UserId == 0 && peer.ProcessId == 0))
            return await GreetAsync(line, claim: null, isProven, cancellationToken);
        line.Dispose();
        return null;
    }

    private static async Task<Predecessor> GreetAsync(HandoverLine line, NodeClaim? claim, bool isProven, CancellationToken cancellationToken)
    {
        try
        {
            var identity = await line.ReadAsync(AnswerDeadline, cancellationToken);
            var version = identity is null ? null : await line.ReadAsync(AnswerDeadline, cancellationToken);
            return new Predecessor(
                line, claim, identity ?? string.Create(CultureInfo.InvariantCulture, $"process {line.Peer.ProcessId}, which does not answer"), version, isProven);
        }
        catch
        {
            line.Dispose();
            throw;
        }
    }

    /// <returns>What it listens with; null for one that keeps that to itself.</returns>
    /// <exception cref="AgentStartException">It refuses.</exception>
    public async Task<InheritedSockets?> FreezeAsync(CancellationToken cancellationToken)
    {
        List<DescriptorHandle> descriptors = [];
        if (SharesSockets && IsProven)
            _line.KeepDescriptors(descriptors);
        try
        {
            await SayAsync(HandoverWords.Freeze, HandoverWords.Frozen, FreezeDeadline, cancellationToken);
            return descriptors.Count == 0 ? null : new InheritedSockets(descriptors);
        }
        catch
        {
            descriptors.ForEach(descriptor => descriptor.Dispose());
            throw;
        }
    }

    /// <exception cref="AgentStartException">It refuses.</exception>
    public Task ReleaseAsync(CancellationToken cancellationToken) =>
        SayAsync(HandoverWords.Release, HandoverWords.Released, ReleaseDeadline, cancellationToken);

    /// <summary>From here on there is no way back, unless the other has given up waiting.</summary>
    /// <exception cref="AgentStartException">It has, and goes on.</exception>
    /// <param name="said">Called when the word is on its way.</param>
    public Task StandAsync(Action said, CancellationToken cancellationToken) =>
        SayAsync(HandoverWords.Standing, HandoverWords.Closed, CloseDeadline, cancellationToken, said);

    public void Dispose() => _line.Dispose();

    private async Task SayAsync(string word, string expected, TimeSpan deadline, CancellationToken cancellationToken, Action? said = null)
    {
        if (_ignored)
        {
            said?.Invoke();
            return;
        }

        if (!IsProven && deadline > UnprovenDeadline)
            deadline = UnprovenDeadline;
        var isHeard = await _line.WriteAsync(word, cancellationToken);
        said?.Invoke();
        var answer = isHeard ? await ReadAnswerAsync(deadline, cancellationToken) : null;
        if (!IsProven)
        {
            _ignored = answer != expected;
            return;
        }

        // A line that ends says that the other has ended only if its claim has ended too.
        if (answer is null && _line.IsGone && word != HandoverWords.Standing && _claim?.IsHeld() == true)
            throw new AgentStartException($"The agent that runs here ({Identity}) has ended the conversation and goes on; start this one again.");
        if (answer?.StartsWith(HandoverWords.Refused, StringComparison.Ordinal) == true)
            throw new AgentStartException($"The agent that runs here ({Identity}) does not hand over: {answer[HandoverWords.Refused.Length..]}.");
        if (answer is null && !_line.IsGone && word != HandoverWords.Standing)
            throw new AgentStartException($"The agent that runs here ({Identity}) does not answer, so it cannot hand over. End it (kill -9 if it hangs), and start this one again.");
        if (answer is not null && answer != expected)
            throw new AgentStartException($"The agent that runs here ({Identity}) answered '{answer}' where '{expected}' was due; stop it, and start this one again.");
    }

    /// <summary>The line that is no part of the sockets.</summary>
    private async Task<string?> ReadAnswerAsync(TimeSpan deadline, CancellationToken cancellationToken)
    {
        for (var left = MostSocketLines; left > 0; left--)
        {
            if (await _line.ReadAsync(deadline, cancellationToken) is var line && line != HandoverWords.Sockets)
                return line;
        }

        return HandoverWords.Sockets;
    }
}
