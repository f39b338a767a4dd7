using System.Net.Sockets;
using System.Security.Cryptography;
using EdgeMesh.Agent.Admin;
using EdgeMesh.Agent.Hosting.Tunnel;
using EdgeMesh.Catalog;
using EdgeMesh.Linux;
using EdgeMesh.Net;
using EdgeMesh.Tunnel;
using EdgeMesh.Tunnel.Loop;
using EdgeMesh.Tunnel.Proxy;
using Microsoft.Extensions.Logging.Abstractions;
using Xunit;
using EdgeMesh.LibP2P;

namespace EdgeMesh.Tests.Tunnel.Loop;

/// <summary>What is the loop's own; connections through it are in <see cref="CarryingTests"/>.</summary>
public sealed class LoopTests : IAsyncDisposable
{
    private readonly MeshLab _lab = new();

    [Fact]
    public void AnAnswerIsReadHoweverItIsCut()
    {
        byte[] whole = [.. TunnelProtocol.V2.Answer(AnswerCode.Limit, "as many as may", null), 1, 2, 3];
        for (var cut = 1; cut < whole.Length; cut++)
        {
            var reader = default(AnswerReader);
            var answer = reader.Read(TunnelProtocol.V2, whole.AsSpan(0, cut), out var rest);
            var behind = rest.ToArray();
            if (answer is null)
            {
                answer = reader.Read(TunnelProtocol.V2, whole.AsSpan(cut), out rest);
                behind = rest.ToArray();
            }
            else
            {
                behind = [.. behind, .. whole.AsSpan(cut)];
            }

            Assert.Equal(new AnswerMessage(AnswerCode.Limit, "as many as may"), answer);
            Assert.Equal([1, 2, 3], behind);
        }
    }

    [Fact]
    public void APeerThatDoesNotSpeakTheProtocolIsNotWaitedFor()
    {
        var reader = default(AnswerReader);
        Assert.Throws<PeerProtocolException>(() => reader.Read(TunnelProtocol.V2, "\x13/multistream/1.0.0\n\x03na\n"u8, out _));
    }

    [Fact]
    public void DeadlinesThatWereMetAreForgottenAndOthersToldOnce()
    {
        using var loop = new TunnelLoop(NullLogger.Instance, TimeProvider.System);
        var queue = loop.AddDeadlines(TimeSpan.FromSeconds(1));
        var (met, missed) = (new Timed { IsDone = true }, new Timed());
        queue.Add(met);
        queue.Add(missed);
        Assert.Null(queue.Overdue(999));
        Assert.Same(missed, queue.Overdue(1_000));
        Assert.Null(queue.Overdue(2_000));
    }

    [Fact]
    public void WhatIsDoneIsForgottenAlsoBehindOneThatIsNot()
    {
        using var loop = new TunnelLoop(NullLogger.Instance, TimeProvider.System);
        var queue = loop.AddDeadlines(TimeSpan.FromSeconds(1));
        var (head, middle) = (new Timed(), new Timed());
        queue.Add(head);
        for (var i = 0; i < 100_000; i++)
        {
            queue.Add(new Timed { IsDone = true });
            if (i == 50_000)
                queue.Add(middle);
            Assert.True(queue.Count <= 200);
        }

        Assert.Same(head, queue.Overdue(1_000));
        Assert.Same(middle, queue.Overdue(1_000));
        Assert.Null(queue.Overdue(1_000));
        Assert.Equal(0, queue.Count);
    }

    [Fact]
    public async Task AFaultOfPostedWorkOrOfItsGivingUpCostsNothingElse()
    {
        using var loop = new TunnelLoop(_lab.Logs.CreateLogger(""), TimeProvider.System);
        loop.Start();
        var (given, done) = (new TaskCompletionSource<Exception>(), new TaskCompletionSource());
        loop.Post(() => throw new InvalidOperationException("one"), given.SetResult);
        loop.Post(() => throw new InvalidOperationException("two"), _ => throw new InvalidOperationException("three"));
        loop.Post(done.SetResult, given.SetException);
        await done.Task.WaitAsync(_lab.Token);
        Assert.Equal("one", (await given.Task.WaitAsync(_lab.Token)).Message);
        Assert.Equal(3, _lab.Logs.Warnings.Count(w => w.Contains("because of a fault in this program", StringComparison.Ordinal)));
        Assert.False(loop.HasFailed);
        loop.Stop();
        await loop.Finished.WaitAsync(_lab.Token);
    }

    [Fact]
    public async Task ALoopThatFailsSaysSoResetsWhatItCarriedAndTakesNoMore()
    {
        var echo = _lab.Echo();
        var far = await _lab.RelayAsync("far", "127.0.61.1");
        MeshLab.Serve(far, new TransportAddress(echo, TransportProtocol.Tcp));
        var time = new FailingTime();
        var near = await _lab.NodeAsync("near", "127.0.61.2", [far], time: time);
        await MeshLab.UntilState(near, "far", PeerState.Direct);
        var standing = await _lab.CarryAsync(near, "far", echo, [1]);
        await standing.ReceiveAsync(1);
        Assert.Null(HealthRules.TunnelLoopFault(near.Loop));

        time.FailsTheLoop = true;

        await MeshLab.Until(() => near.Loop.HasFailed);
        Assert.Contains("the tunnel's loop ended by a fault", TunnelStatusWords.Of(near.ReadStatus(), null).Fault, StringComparison.Ordinal);
        await Assert.ThrowsAsync<SocketException>(standing.ReceiveAllAsync);
        await standing.Outcome;
        await MeshLab.Until(() => !near.CanReach("far") && far.ReadStatus().Counts.StreamsIn == 0);
        var late = await _lab.CarryAsync(near, "far", echo, [2]);
        Assert.Equal([TunnelRefusal.NoSession], (await late.Outcome) is { End: TunnelEnd.Refused } ? late.Refusals : []);
    }

    [Fact]
    public async Task AClientThatReadsNothingNeitherStopsOthersNorGathersMoreThanItsWindow()
    {
        var sent = 0L;
        var flood = _lab.Endpoint(async (socket, token) =>
        {
            var bytes = new byte[256 * 1024];
            while (!token.IsCancellationRequested)
            {
                var count = await socket.SendAsync(bytes, token);
                Interlocked.Add(ref sent, count);
            }
        });
        var echo = _lab.Echo();
        var far = await _lab.RelayAsync("far", "127.0.61.1");
        MeshLab.Serve(far, new TransportAddress(flood, TransportProtocol.Tcp), new TransportAddress(echo, TransportProtocol.Tcp));
        var near = await _lab.NodeAsync("near", "127.0.61.2", [far]);
        await MeshLab.UntilState(near, "far", PeerState.Direct);

        await using var silent = await _lab.CarryAsync(near, "far", flood, [1]);
        await MeshLab.Until(() => Interlocked.Read(ref sent) > 256 * 1024);
        var payload = RandomNumberGenerator.GetBytes(3_000_000);
        await using var busy = await _lab.CarryAsync(near, "far", echo, payload[..1000]);
        var sending = busy.SendAsync(payload.AsMemory(1000));
        Assert.Equal(payload, await busy.ReceiveAsync(payload.Length));
        await sending;

        // Windows, and what the kernel's buffers of three connections hold on the way.
        Assert.InRange(Interlocked.Read(ref sent), 0, 64_000_000);
        silent.Socket.Close();
        await MeshLab.Until(() => near.ReadStatus().Counts.StreamsOut == 1);
    }

    public ValueTask DisposeAsync() => _lab.DisposeAsync();

    private sealed class Timed : ITimed
    {
        public bool IsDone { get; init; }

        public void OnOverdue()
        {
        }

        public void OnFault(Exception exception)
        {
        }
    }

    /// <summary>The real time, but for a thread that is not to have it any more.</summary>
    private sealed class FailingTime : TimeProvider
    {
        public volatile bool FailsTheLoop;

        public override long GetTimestamp() => FailsTheLoop && Thread.CurrentThread.Name == "edgemesh-tunnel"
            ? throw new InvalidOperationException("no time is left")
            : base.GetTimestamp();
    }
}
