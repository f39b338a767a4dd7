using System.Text;
using EdgeMesh.Testing.ApiServer;
using EdgeMesh.Testing.Lab;
using Xunit;

namespace EdgeMesh.Tests.Kubernetes;

/// <summary>What a large cluster costs. Memory is counted for the whole process, so nothing else may run.</summary>
[CollectionDefinition(Name, DisableParallelization = true)]
public sealed class Alone
{
    public const string Name = "alone";
}

[Collection(Alone.Name)]
public sealed class ListingTests(ITestOutputHelper output)
{
    private const int Services = 10_000;

    [Fact]
    public async Task TenThousandServicesAreReadInSecondsAndHeldModestly()
    {
        await using var server = await TestApiServer.StartAsync();
        // Made before, so that the time is the reader's and not the server's.
        server.Always("services", Misbehave.Body(List("v1", "ServiceList", i => Numbered(Sample.Service($"svc-{i}", $"10.{96 + (i / 65536)}.{i / 256 % 256}.{i % 256}"), i))));
        server.Always("endpointslices", Misbehave.Body(List("discovery.k8s.io/v1", "EndpointSliceList", i => Numbered(Sample.Slice($"svc-{i}", 10), i))));
        // The first one pays for code that is compiled once.
        await ListAsync(server);

        var (seconds, allocated, with, source) = await ListAsync(server);
        var without = await Eventually.SeesAsync(() => GC.GetTotalMemory(forceFullCollection: true), _ => !source.IsAlive, TimeSpan.FromSeconds(10));
        var held = (with - without) >> 20;
        output.WriteLine($"{Services} services and {Services * 10} endpoints: listed in {seconds:0.00} s, {held} MB held, {allocated >> 20} MB allocated");
        Assert.InRange(held, 10, 40);
    }

    /// <summary>A method of its own, so that nothing holds what it read once it has returned.</summary>
    private static async Task<(double Seconds, long Allocated, long MemoryWith, WeakReference Source)> ListAsync(TestApiServer server)
    {
        var allocated = GC.GetTotalAllocatedBytes(precise: true);
        var start = TimeProvider.System.GetTimestamp();
        await using var running = RunningSource.Of(server);
        await running.SeesAsync(f => f.Services.Count == Services && f.EndpointSlices.Count == Services);
        var seconds = TimeProvider.System.GetElapsedTime(start).TotalSeconds;
        allocated = GC.GetTotalAllocatedBytes(precise: true) - allocated;
        var with = GC.GetTotalMemory(forceFullCollection: true);
        return (seconds, allocated, with, new WeakReference(running.Source));
    }

    private static string Numbered(string json, int i) =>
        json.Replace("\"metadata\":{", $"\"metadata\":{{\"uid\":\"9f1b8c1e-0000-4000-8000-{i:D12}\",\"resourceVersion\":\"{1000 + i}\",", StringComparison.Ordinal);

    private static string List(string apiVersion, string kind, Func<int, string> item)
    {
        var text = new StringBuilder($$"""{"kind":"{{kind}}","apiVersion":"{{apiVersion}}","metadata":{"resourceVersion":"99999"},"items":[""");
        for (var i = 0; i < Services; i++)
        {
            text.Append(i == 0 ? "" : ",").Append(item(i));
        }

        return text.Append("]}\n").ToString();
    }
}
