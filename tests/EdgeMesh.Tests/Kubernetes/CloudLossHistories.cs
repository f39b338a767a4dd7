using System.Collections.Concurrent;
using System.Globalization;
using EdgeMesh.Catalog;
using EdgeMesh.Kubernetes;
using EdgeMesh.Kubernetes.Api;
using EdgeMesh.Kubernetes.Watching;
using EdgeMesh.Netfilter;
using EdgeMesh.Planning;
using EdgeMesh.Testing.ApiServer;
using EdgeMesh.Tests.Planning;
using Xunit;

namespace EdgeMesh.Tests.Kubernetes;

/// <summary>Random histories of a cloud, of the database of a metaServer and of the way between them, and of an agent that
/// starts again in the middle, through the whole source and its cache over real connections, and through catalog and planner to
/// the rules that follow. EDGEMESH_SEED=n takes the steps of one again, EDGEMESH_LONG=1 many.</summary>
public sealed class CloudLossHistories(ITestOutputHelper output)
{
    private const int Short = 16;
    private const int Long = 400;
    private const int AtOnce = 8;

    [Fact]
    public async Task WithoutTheCloudItsLastWordStaysAndOnceItIsBackTheTruthComes()
    {
        var count = Environment.GetEnvironmentVariable("EDGEMESH_LONG") == "1" ? Long : Short;
        int[] seeds = int.TryParse(Environment.GetEnvironmentVariable("EDGEMESH_SEED"), CultureInfo.InvariantCulture, out var given)
            ? [given]
            : [.. Enumerable.Range(0, count).Select(_ => Random.Shared.Next())];
        output.WriteLine($"seeds {string.Join(' ', seeds)}");
        var failures = new ConcurrentQueue<string>();
        await Parallel.ForEachAsync(seeds, new ParallelOptions { MaxDegreeOfParallelism = AtOnce }, async (seed, _) =>
        {
            await using var history = await History.BeginAsync(seed);
            try
            {
                await history.RunAsync();
            }
            catch (Exception e)
            {
                failures.Enqueue($"EDGEMESH_SEED={seed}: {e.Message}\nafter: {history.Steps}");
            }
        });
        Assert.True(failures.IsEmpty, string.Join("\n\n", failures));
    }

    private sealed class History(int seed, TestApiServer server) : IAsyncDisposable
    {
        private const int Length = 14;
        private const int Names = 6;
        private static readonly string[] Kinds = ["services", "endpoints"];

        private static readonly ApiTimings Quick = Sample.Quick with
        {
            Relist = (TimeSpan.FromMilliseconds(40), TimeSpan.FromMilliseconds(60)),
            RelistOffline = (TimeSpan.FromMilliseconds(40), TimeSpan.FromMilliseconds(60)),
            PromptRelist = TimeSpan.FromMilliseconds(5),
            Reopen = TimeSpan.FromMilliseconds(50),
            Publish = TimeSpan.FromMilliseconds(2),
        };

        private readonly Random _random = new(seed);
        private readonly TemporaryFolder _folder = new();
        private readonly List<string> _steps = [];
        private readonly Views _seen = new();
        private int _changes = 1;
        private RunningSource _running = null!;
        private Task _following = Task.CompletedTask;
        private CancellationTokenSource _follow = null!;

        /// <summary>As the agent has them in force after all that it was told in this run.</summary>
        private volatile string _inForce = "";

        /// <summary>What has to stay while there is no cloud; null while there is one.</summary>
        private string? _lastWord;

        public string Steps => string.Join(", ", _steps);

        public static async Task<History> BeginAsync(int seed)
        {
            var server = await TestApiServer.StartAsync(new() { MetaServer = true });
            server.Edge.FirstLocalList = TimeSpan.FromMilliseconds(5);
            var history = new History(seed, server);
            for (var i = 0; i < Names; i++)
            {
                history.Change();
            }

            server.Put(Sample.Service("always"));
            server.Put(Sample.Endpoints("always"));
            history.Start();
            await history.TruthAsync();
            return history;
        }

        public async Task RunAsync()
        {
            for (var i = 0; i < Length; i++)
            {
                await (_lastWord is null ? WithCloudAsync() : WithoutCloudAsync());
                _seen.Hold();
            }

            Do("the cloud is there", server.Edge.Connect);
            await TruthAsync();
            _seen.Hold();
        }

        public async ValueTask DisposeAsync()
        {
            await StopAsync();
            await server.DisposeAsync();
            _folder.Dispose();
        }

        private async Task WithCloudAsync()
        {
            switch (_random.Next(10))
            {
                case <= 2:
                    Do("changes", Change);
                    break;
                case 3:
                    Do("the cloud restarts", server.Edge.RestartCloud);
                    break;
                case 4:
                    Do("connections break", server.DropConnections);
                    break;
                case 5:
                    DatabaseErrs();
                    break;
                case 6:
                    await RestartAsync();
                    break;
                case 7:
                    // In the middle of whatever is under way: what was heard by then is the last word.
                    Do("the cloud is lost at once", server.Edge.Disconnect);
                    await LocalListsAsync();
                    _lastWord = Told(_running.Source.Current!);
                    break;
                default:
                    await TruthAsync();
                    Do("the cloud is lost", server.Edge.Disconnect);
                    _lastWord = Truth();
                    await HeldAsync();
                    break;
            }
        }

        private async Task WithoutCloudAsync()
        {
            switch (_random.Next(6))
            {
                case 0:
                    Do("changes that nobody hears of", Change);
                    break;
                case 1:
                    Do("the database loses", () => server.Edge.Lose(Kind(), "demo", Name()));
                    break;
                case 2:
                    Do("connections break", server.DropConnections);
                    break;
                case 3:
                    await RestartAsync();
                    break;
                case 4:
                    Do("the cloud seems to come back", server.Edge.Connect);
                    Do("and is lost", server.Edge.Disconnect);
                    await LocalListsAsync();
                    // A list may have come in between.
                    _lastWord = Told(_running.Source.Current!);
                    break;
                default:
                    Do("the cloud is back", server.Edge.Connect);
                    _lastWord = null;
                    if (_random.Next(2) == 0)
                    {
                        await TruthAsync();
                    }

                    return;
            }

            await HeldAsync();
        }

        private void Do(string step, Action action)
        {
            _steps.Add(step);
            action();
        }

        private void Change()
        {
            for (var i = _random.Next(1, 4); i > 0; i--)
            {
                var (kind, name) = (Kind(), Name());
                if (_random.Next(3) == 0)
                {
                    server.Delete(kind, "demo", name);
                }
                else
                {
                    // Each time other addresses, so that rules of an older state are not those of a newer one.
                    _changes++;
                    server.Put(kind == "services" ? Sample.Service(name, $"10.96.{_changes / 250}.{_changes % 250}") : Sample.Endpoints(name, $"10.244.{_changes / 250}.{_changes % 250}"));
                }
            }
        }

        private void DatabaseErrs()
        {
            Do("the database stays as it is", server.Edge.Freeze);
            for (var i = _random.Next(4); i > 0; i--)
            {
                var (kind, name) = (Kind(), Name());
                if (_random.Next(2) == 0)
                {
                    Do($"loses {kind} {name}", () => server.Edge.Lose(kind, "demo", name));
                }
                else
                {
                    Do($"hears of {kind} {name}", () => server.Edge.Hear(kind, "demo", name));
                }
            }
        }

        private string Kind() => Kinds[_random.Next(Kinds.Length)];

        private string Name() => $"s{_random.Next(Names)}";

        private async Task RestartAsync()
        {
            _steps.Add("the agent restarts");
            await StopAsync();
            Start();
            await _running.SeesAsync(facts => facts.Origin == FactsOrigin.Live);
        }

        private void Start()
        {
            _running = RunningSource.CachedOfMetaServer(server, Path.Combine(_folder.Path, "facts.json"), Quick);
            _follow = new();
            _inForce = "nothing yet";
            _following = FollowAsync(_running.Source, _follow.Token);
        }

        private async Task StopAsync()
        {
            await _running.DisposeAsync();
            await _follow.CancelAsync();
            await _following;
            _follow.Dispose();
        }

        private async Task FollowAsync(IClusterSource source, CancellationToken enough)
        {
            var (builder, planner) = (new CatalogBuilder(), new ForwardingPlanner());
            try
            {
                for (ClusterFacts? seen = null; ;)
                {
                    seen = await source.NextAsync(seen, enough);
                    _seen.Take(seen);
                    _inForce = Rules(planner.Plan(builder.Build(seen, TestOptions.Policy), TestOptions.Planning));
                }
            }
            catch (OperationCanceledException)
            {
                // The agent has ended.
            }
        }

        /// <summary>Every kind has been listed from the database, more than once, and its watch may have replayed it.</summary>
        private async Task LocalListsAsync()
        {
            await RunningSource.UntilAsync(() => Kinds.All(kind => _running.Kind(kind).Offline), "offline");
            var lists = Kinds.ToDictionary(kind => kind, kind => _running.Kind(kind).Lists, StringComparer.Ordinal);
            await RunningSource.UntilAsync(() => Kinds.All(kind => _running.Kind(kind).Lists >= lists[kind] + 2), "local lists");
        }

        private async Task HeldAsync()
        {
            await LocalListsAsync();
            Assert.Equal(_lastWord, Told(_running.Source.Current!));
            await InForceAsync(_lastWord!);
        }

        private async Task TruthAsync()
        {
            await _running.SeesAsync(facts => Told(facts) == Truth());
            await InForceAsync(Truth());
        }

        private Task InForceAsync(string told) =>
            RunningSource.UntilAsync(() => told.EndsWith("; " + _inForce, StringComparison.Ordinal), $"the rules of\n{told}\nare in force, not\n{_inForce}");

        /// <summary>What the cloud has, and the rules that this asks for, both read from its own objects.</summary>
        private string Truth()
        {
            var objects = Kinds.ToDictionary(kind => kind, kind => server.Store.List(kind, "everything", _ => true).Objects, StringComparer.Ordinal);
            var endpoints = objects["endpoints"].ToDictionary(o => (string)o["metadata"]!["name"]!, o => (string)o["subsets"]![0]!["addresses"]![0]!["ip"]!, StringComparer.Ordinal);
            return Text(Kinds.SelectMany(kind => objects[kind].Select(o => $"{kind} {(string)o["metadata"]!["name"]!}@{(string)o["metadata"]!["resourceVersion"]!}")))
                + "; " + Text(objects["services"].Select(o => Rule(
                    (string)o["spec"]!["clusterIP"]! + ":80", endpoints.TryGetValue((string)o["metadata"]!["name"]!, out var ip) ? $"{ip}:8080" : nameof(PortalTarget.Refused))));
        }

        private static string Told(ClusterFacts facts) => Text(
        [
            .. facts.Services.Values.Select(service => $"services {service.Metadata.Name}@{service.Metadata.ResourceVersion}"),
            .. facts.Endpoints.Values.Select(endpoints => $"endpoints {endpoints.Metadata.Name}@{endpoints.Metadata.ResourceVersion}"),
        ]) + "; " + Rules(new ForwardingPlanner().Plan(new CatalogBuilder().Build(facts, TestOptions.Policy), TestOptions.Planning));

        private static string Rules(ForwardingPlan plan) => Text(plan.Portals.SelectMany(portals => portals.Rules).Select(rule => Rule(
            $"{rule.Key.Endpoint}", rule.Target is PortalTarget.Backends backends ? string.Join(',', backends.Endpoints) : rule.Target.GetType().Name)));

        private static string Rule(string caught, string target) => $"{caught} to {target}";

        private static string Text(IEnumerable<string> objects) => string.Join(", ", objects.Order(StringComparer.Ordinal));
    }

    /// <summary>Every view that was published: no object goes back to an older version, and none that was gone comes back in
    /// a version in which it was there before.</summary>
    private sealed class Views
    {
        private readonly ConcurrentQueue<string> _faults = new();
        private readonly Dictionary<string, long> _newest = new(StringComparer.Ordinal);
        private HashSet<string> _before = [];

        public void Take(ClusterFacts facts)
        {
            var now = new HashSet<string>(StringComparer.Ordinal);
            foreach (var item in facts.Services.Values.Cast<KubernetesObject>().Concat(facts.Endpoints.Values))
            {
                var name = $"{item.GetType().Name} {item.Metadata.Name}";
                var version = long.Parse(item.Metadata.ResourceVersion!, CultureInfo.InvariantCulture);
                now.Add(name);
                if (_newest.TryGetValue(name, out var newest) && (version < newest || (version == newest && !_before.Contains(name))))
                {
                    _faults.Enqueue($"{name} was at {newest}{(_before.Contains(name) ? "" : " and deleted")}, and is at {version} again");
                }

                _newest[name] = Math.Max(newest, version);
            }

            _before = now;
        }

        public void Hold() => Assert.Empty(_faults);
    }
}
