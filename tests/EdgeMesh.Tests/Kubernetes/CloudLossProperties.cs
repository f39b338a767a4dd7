using System.Text;
using EdgeMesh.Kubernetes.Api;
using EdgeMesh.Kubernetes.Watching;
using FsCheck;
using FsCheck.Fluent;
using Xunit;

namespace EdgeMesh.Tests.Kubernetes;

/// <summary>Random histories of a cloud, of a local database that follows it when it likes, and of what reaches the agent.</summary>
public sealed class CloudLossProperties
{
    private const int Names = 6;

    [Fact]
    public void NothingLocalUndoesWhatTheCloudSaidAndACloudListIsTheTruth() =>
        Prop.ForAll(Gen.Choose(0, (8 * Names) - 1).ListOf(60).ToArbitrary(), steps =>
        {
            var history = new History();
            foreach (var step in steps)
            {
                history.Step(step / Names, $"s{step % Names}");
                if (!history.Holds)
                {
                    return false;
                }
            }

            history.CloudList();
            return history.IsTruth;
        }).QuickCheckThrowOnFailure();

    private sealed class History
    {
        private readonly ObjectStore<Service> _store = new(Kinds.Services, new Selection { AtMetaServer = true });
        private readonly Dictionary<string, long> _cloud = [];
        private readonly Dictionary<string, long> _database = [];
        private readonly Dictionary<string, long> _said = [];
        private readonly Dictionary<string, long> _deleted = [];
        private long _version = 9;
        private long _listed;

        public bool IsTruth => Known().OrderBy(k => k.Key, StringComparer.Ordinal).SequenceEqual(_cloud.OrderBy(k => k.Key, StringComparer.Ordinal));

        /// <summary>All that the cloud said is there, in that version or a newer one; what it did not say is newer than its last word.</summary>
        public bool Holds
        {
            get
            {
                var known = Known();
                return _listed == 0 || (_said.All(s => known.GetValueOrDefault(s.Key) >= s.Value)
                    && known.All(k => _said.ContainsKey(k.Key) || k.Value > Math.Max(_listed, _deleted.GetValueOrDefault(k.Key))));
            }
        }

        public void Step(int what, string name)
        {
            switch (what)
            {
                case 0 or 1:
                    Put(name, told: what == 0);
                    break;
                case 2 or 3:
                    Delete(name, told: what == 2);
                    break;
                case 4:
                    CloudList();
                    break;
                case 5:
                    LocalList();
                    break;
                case 6:
                    Replay();
                    break;
                default:
                    // The database hears of one object, or loses it.
                    if (_cloud.TryGetValue(name, out var version) && !_database.ContainsKey(name))
                    {
                        _database[name] = version;
                    }
                    else if (_version % 2 == 0)
                    {
                        _database.Remove(name);
                    }

                    break;
            }
        }

        public void CloudList()
        {
            var listing = Listing(_cloud);
            Assert.NotEqual(ListTrust.Local, _store.Judge(new ListMeta { ResourceVersion = $"{_version}" }, listing.Seen));
            listing.ApplyCloud($"{_version}", authoritative: false);
            _listed = _version;
            _said.Clear();
            foreach (var (name, version) in _cloud)
            {
                _said[name] = version;
            }
        }

        private void Put(string name, bool told)
        {
            _cloud[name] = ++_version;
            if (told)
            {
                _store.Upsert(Json(name, _version));
                _said[name] = _version;
                _database[name] = _version;
            }
        }

        private void Delete(string name, bool told)
        {
            if (!_cloud.Remove(name))
            {
                return;
            }

            _version++;
            // Its deletion may well be lost on the way to the database.
            if (told && _listed > 0 && _store.RemoveByWatch(new("demo", name), $"{_version}"))
            {
                _said.Remove(name);
                _deleted[name] = _version;
            }
        }

        private void LocalList()
        {
            var listing = Listing(_database);
            var metadata = _database.Count == 0 ? null : new ListMeta { ResourceVersion = $"{_database.Values.Max()}", SelfLink = "/core/v1/services/null/null" };
            Assert.Equal(ListTrust.Local, _store.Judge(metadata, listing.Seen));
            listing.ApplyLocal();
        }

        private void Replay()
        {
            foreach (var (name, version) in _database)
            {
                _store.Upsert(Json(name, version));
            }
        }

        private ObjectStore<Service>.Listing Listing(Dictionary<string, long> objects)
        {
            var listing = _store.BeginList();
            foreach (var (name, version) in objects)
            {
                listing.Add(Json(name, version), whole: true);
            }

            return listing;
        }

        private Dictionary<string, long> Known() => _store.Objects.ToDictionary(o => o.Key.Name, o => long.Parse(o.Value.Metadata.ResourceVersion!), StringComparer.Ordinal);

        private static byte[] Json(string name, long version) => Encoding.UTF8.GetBytes(
            $$"""{"apiVersion":"v1","kind":"Service","metadata":{"name":"{{name}}","namespace":"demo","uid":"u","resourceVersion":"{{version}}"},"spec":{"clusterIP":"10.96.0.1","ports":[{"port":80}]} }""");
    }
}
