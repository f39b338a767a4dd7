using System.Collections.Concurrent;
using System.Net.Sockets;
using System.Text;
using EdgeMesh.Agent.Hosting.Handover;
using EdgeMesh.Linux;
using EdgeMesh.Linux.Sockets;
using EdgeMesh.Net;
using Microsoft.Extensions.Logging.Abstractions;
using Xunit;

namespace EdgeMesh.Tests.Hosting;

public sealed class HandoverTests : IAsyncDisposable
{
    private readonly ConcurrentQueue<string> _steps = new();
    private readonly TaskCompletionSource _successorGone = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly List<TcpListenSocket> _listeners = [];
    private readonly HandoverHost _host;

    public HandoverTests() => _host = new HandoverHost(
        "edgemesh-agent test",
        () => 20007,
        new HandoverSteps
        {
            FreezeAsync = async () =>
            {
                await Step("freeze");
                return [.. _listeners.Select(listener => listener.Duplicate()!)];
            },
            ThawAsync = () => Step("thaw"),
            ReleaseAsync = () => Step("release"),
            ReclaimAsync = () => Step("reclaim"),
            StopAcceptingAsync = () => Step("stop accepting"),
            FinishAsync = async gone =>
            {
                await gone;
                await Step("finish");
                _successorGone.SetResult();
            },
        },
        TimeProvider.System, NullLogger<HandoverHost>.Instance);

    private static CancellationToken Stop => TestContext.Current.CancellationToken;

    [Fact]
    public async Task AVisitorIsToldWhoIsHereAndNothingChanges()
    {
        using (var visitor = Connect())
            Assert.Equal(("edgemesh-agent test", $"{HandoverWords.Version} 20007"), (await visitor.ReadAsync(), await visitor.ReadAsync()));
        Assert.True(await _host.SettleAsync(TimeSpan.FromSeconds(1)));
        Assert.Empty(_steps);
    }

    [Fact]
    public async Task TheStepsComeInOrderAndTheOldAgentFinishesWhenTheNewOneEnds()
    {
        using (var successor = await GreetedAsync())
        {
            Assert.Equal(HandoverWords.Frozen, await successor.SayAsync(HandoverWords.Freeze));
            Assert.Equal(HandoverWords.Released, await successor.SayAsync(HandoverWords.Release));
            Assert.Equal(HandoverWords.Closed, await successor.SayAsync(HandoverWords.Standing));
            Assert.True(await _host.SettleAsync(TimeSpan.FromSeconds(5)));
            Assert.Equal(["freeze", "release", "stop accepting"], _steps);
        }

        await _successorGone.Task.WaitAsync(TimeSpan.FromSeconds(5), Stop);
    }

    [Theory]
    [InlineData(2)]
    [InlineData(150)]
    public async Task TheSuccessorIsGivenEveryListenerBeforeTheOldAgentSaysFrozen(int count)
    {
        for (var i = 0; i < count; i++)
            _listeners.Add(TcpListenSocket.Open(_listeners.Count == 0 ? InetEndpoint.Parse("127.0.0.1:0") : _listeners[0].Endpoint, 16, new PeerWatch()));
        using var successor = await GreetedAsync();
        var received = new List<DescriptorHandle>();
        successor.KeepDescriptors(received);
        var word = await successor.SayAsync(HandoverWords.Freeze);
        while (word == HandoverWords.Sockets)
            word = await successor.ReadAsync();
        Assert.Equal(HandoverWords.Frozen, word);
        Assert.Equal(count, received.Count);
        using var inherited = new InheritedSockets(received);
        var taken = inherited.TakeListeners(_listeners[0].Endpoint);
        Assert.Equal(count, taken.Count);
        Assert.Equal(count, BoundPorts.CountAt(_listeners[0].Endpoint, isTcp: true));
        foreach (var handle in taken)
            handle.Dispose();
        _listeners.ForEach(listener => listener.Dispose());
    }

    [Fact]
    public async Task ASuccessorThatEndsAfterTheFreezeIsForgotten()
    {
        using (var successor = await GreetedAsync())
            Assert.Equal(HandoverWords.Frozen, await successor.SayAsync(HandoverWords.Freeze));
        Assert.True(await _host.SettleAsync(TimeSpan.FromSeconds(5)));
        Assert.Equal(["freeze", "thaw"], _steps);

        using var next = await GreetedAsync();
        Assert.Equal(HandoverWords.Frozen, await next.SayAsync(HandoverWords.Freeze));
    }

    [Fact]
    public async Task ASuccessorThatEndsAfterTheReleaseLeavesTheOldAgentInService()
    {
        using (var successor = await GreetedAsync())
        {
            await successor.SayAsync(HandoverWords.Freeze);
            await successor.SayAsync(HandoverWords.Release);
        }

        Assert.True(await _host.SettleAsync(TimeSpan.FromSeconds(5)));
        Assert.Equal(["freeze", "release", "reclaim", "thaw"], _steps);
    }

    [Fact]
    public async Task WhileASuccessorThatFailedHasNotEndedNoOtherTakesOver()
    {
        using (var failed = await GreetedAsync())
        {
            await failed.SayAsync(HandoverWords.Freeze);
            Assert.StartsWith(HandoverWords.Refused, await failed.SayAsync("something else"), StringComparison.Ordinal);
            Assert.True(await _host.SettleAsync(TimeSpan.FromSeconds(5)));
            Assert.Equal(["freeze", "thaw"], _steps);
            using var early = await GreetedAsync();
            Assert.Contains($"process {Environment.ProcessId} tried so before", await early.SayAsync(HandoverWords.Freeze), StringComparison.Ordinal);
        }

        await EdgeMesh.Testing.Lab.Eventually.SeesAsync(
            async () =>
            {
                using var next = await GreetedAsync();
                return await next.SayAsync(HandoverWords.Freeze);
            },
            answer => answer == HandoverWords.Frozen, TimeSpan.FromSeconds(5), "another may begin");
        Assert.Equal(["freeze", "thaw", "freeze"], _steps.Take(3));
    }

    [Theory]
    [InlineData("release")]
    [InlineData("closed")]
    [InlineData("Standing")]
    public async Task NothingButStandingEndsTheService(string word)
    {
        using var successor = await GreetedAsync();
        await successor.SayAsync(HandoverWords.Freeze);
        await successor.SayAsync(HandoverWords.Release);

        Assert.StartsWith(HandoverWords.Refused, await successor.SayAsync(word), StringComparison.Ordinal);
        Assert.True(await _host.SettleAsync(TimeSpan.FromSeconds(5)));
        Assert.Equal(["freeze", "release", "reclaim", "thaw"], _steps);
    }

    [Fact]
    public async Task ASecondSuccessorAndAnUnknownWordAreRefused()
    {
        using var first = await GreetedAsync();
        await first.SayAsync(HandoverWords.Freeze);
        using var second = await GreetedAsync();
        Assert.StartsWith(HandoverWords.Refused, await second.SayAsync(HandoverWords.Freeze), StringComparison.Ordinal);
        using var third = await GreetedAsync();
        Assert.StartsWith(HandoverWords.Refused, await third.SayAsync("give me everything"), StringComparison.Ordinal);
        Assert.Equal(["freeze"], _steps);
    }

    [Fact]
    public async Task ALineWithoutAnEndClosesTheConversation()
    {
        using var visitor = await GreetedAsync();
        await visitor.SendAsync(new byte[1_000]);
        Assert.Null(await visitor.ReadAsync());
        Assert.Empty(_steps);
    }

    public async ValueTask DisposeAsync() => await _host.DisposeAsync();

    private Task Step(string name)
    {
        _steps.Enqueue(name);
        return Task.CompletedTask;
    }

    private async Task<Visitor> GreetedAsync()
    {
        var visitor = Connect();
        await visitor.ReadAsync();
        await visitor.ReadAsync();
        return visitor;
    }

    private Visitor Connect()
    {
        // An address of this test alone: the agent's own name is the node's.
        var address = new UnixDomainSocketEndPoint($"\0edgemesh-test-{Guid.NewGuid():N}");
        using var listener = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        listener.Bind(address);
        listener.Listen(1);
        var client = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        client.Connect(address);
        _host.Visit(new HandoverLine(listener.Accept(), TimeProvider.System));
        return new Visitor(client);
    }

    private sealed class Visitor(Socket socket) : IDisposable
    {
        private readonly HandoverLine _line = new(socket, TimeProvider.System);

        public void KeepDescriptors(List<DescriptorHandle> descriptors) => _line.KeepDescriptors(descriptors);

        public Task<string?> ReadAsync() => _line.ReadAsync(TimeSpan.FromSeconds(5), Stop);

        public async Task SendAsync(byte[] bytes) => await socket.SendAsync(bytes, Stop);

        public async Task<string?> SayAsync(string word)
        {
            await socket.SendAsync(Encoding.ASCII.GetBytes(word + "\n"), Stop);
            return await ReadAsync();
        }

        public void Dispose() => _line.Dispose();
    }
}
