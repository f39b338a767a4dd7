using System.Net;
using EdgeMesh.LibP2P.Addresses;
using EdgeMesh.LibP2P.Admission;
using EdgeMesh.LibP2P.Connections;
using EdgeMesh.LibP2P.Ping;
using EdgeMesh.Tunnel.Sessions;
using Microsoft.Extensions.Logging;

namespace EdgeMesh.Tunnel.Reach;

/// <summary>Asks one node at one address, again and again, over a connection of its own on which the node has proved who it is.
/// <code>
///   Unverified --answer--> Direct --silence--> Lost --answer--> Returning --two more--> Direct
/// </code></summary>
internal sealed partial class RangeProbe(PeerLink link, IPEndPoint via, MeshContext mesh, HelloExchange hello, Action changed)
{
    /// <summary>Answers in a row after a loss: a link that flaps is left to the tunnel.</summary>
    private const int AnswersToReturn = 3;

    private static readonly TimeSpan LongestBackOff = TimeSpan.FromSeconds(5);

    private long _roundTripTicks;
    private readonly TaskCompletionSource _ended = new(TaskCreationOptions.RunContinuationsAsynchronously);

    internal RangeState State { get; private set; }

    internal TimeSpan? RoundTrip
    {
        get => Volatile.Read(ref _roundTripTicks) is not 0 and var ticks ? new TimeSpan(ticks) : null;
        private set => Volatile.Write(ref _roundTripTicks, value?.Ticks ?? 0);
    }

    internal string Reason { get; private set; } = "not asked yet";

    internal void End() => _ended.TrySetResult();

    private bool IsOver => _ended.Task.IsCompleted || mesh.Stopping.IsCancellationRequested;

    internal async Task RunAsync()
    {
        var backOff = new BackOff();
        while (!IsOver)
        {
            try
            {
                await using var connection = await link.DialAsync(Multiaddr.FromEndPoint(via), strict: false, mesh.Stopping);
                if (mesh.Sessions.Of(connection) is not { } session)
                    throw new IOException("the connection was lost at once");
                session.IsProbe = true;
                await hello.GreetAsync(session, link.Name, mesh.Stopping);
                await AskAsync(connection, backOff);
            }
            catch (UnexpectedPeerException e)
            {
                Fail(e.Actual.Equals(mesh.Host.PeerId) ? $"{via} is this node itself" : $"somebody else answers at {via}");
            }
            catch (ProofRefusedException)
            {
                // The proof is for this node alone: any other closes the connection on it, without a word.
                Fail($"somebody else answers at {via}");
            }
            catch (Exception e) when (e is IOException or TimeoutException or OperationCanceledException)
            {
                Fail($"{via}: {PeerFault.Of(e)}");
            }

            await mesh.WaitAsync(backOff.AfterFailure(LongestBackOff), _ended.Task);
        }
    }

    private async Task AskAsync(PeerConnection connection, BackOff backOff)
    {
        var answers = State == RangeState.Unverified ? AnswersToReturn : 0;
        while (!IsOver)
        {
            using var limit = new CancellationTokenSource(mesh.Options.RangeCheck + mesh.Options.Heartbeat, mesh.Time);
            using var either = CancellationTokenSource.CreateLinkedTokenSource(limit.Token, mesh.Stopping);
            RoundTrip = await PingProtocol.PingAsync(connection, mesh.Time, either.Token);
            if (++answers >= AnswersToReturn)
            {
                backOff.Succeeded();
                Set(RangeState.Direct, $"{link.Name} proved itself at {via}");
            }
            else
            {
                Set(RangeState.Returning, $"{link.Name} answers at {via} again, {answers} of {AnswersToReturn} times");
            }

            await mesh.WaitAsync(mesh.Options.RangeCheck, Task.WhenAny(_ended.Task, connection.Closed));
        }
    }

    private void Fail(string reason)
    {
        RoundTrip = null;
        Set(State == RangeState.Unverified ? RangeState.Unverified : RangeState.Lost, reason);
    }

    private void Set(RangeState state, string reason)
    {
        var before = State;
        (State, Reason) = (state, reason);
        if (before == state)
            return;
        LogChanged(mesh.Logger, link.Name, via, state, reason);
        // Where it answers a probe, it takes a session too: a relayed one need not wait for its next try.
        if (state == RangeState.Direct)
            link.TryNow();
        changed();
    }

    [LoggerMessage(6040, LogLevel.Debug, "Addresses of {Node} at {Via} are {State} now: {Reason}.")]
    private static partial void LogChanged(ILogger logger, string node, IPEndPoint via, RangeState state, string reason);
}
