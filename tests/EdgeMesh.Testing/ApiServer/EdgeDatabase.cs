using System.Text.Json.Nodes;

namespace EdgeMesh.Testing.ApiServer;

/// <summary>
/// What a metaServer has instead of a cloud: a copy of the objects that follows as long as nothing gets lost. It may be
/// arbitrarily old and incomplete, and stays so.
/// </summary>
public sealed class EdgeDatabase
{
    private readonly Lock _gate = new();
    private readonly ApiStore _cloud;
    private readonly Dictionary<(string Plural, string Namespace, string Name), JsonObject> _frozen = [];
    private readonly HashSet<string> _forbidden = new(StringComparer.Ordinal);
    private bool _follows = true;
    private bool _connected = true;
    private bool _slow;
    private bool _hung;
    private int _registration;

    internal EdgeDatabase(ApiStore cloud) => _cloud = cloud;

    /// <summary>How long the first list after the loss of the cloud takes; 10 s on a real one.</summary>
    public TimeSpan FirstLocalList { get; set; } = TimeSpan.FromMilliseconds(50);

    public bool Connected => Locked(() => _connected && !_hung);

    /// <summary>Watches that were opened under another registration stay silent.</summary>
    internal int Registration => Locked(() => _registration);

    internal bool Follows => Locked(() => _follows);

    /// <summary>From now on the local database stays as it is, whatever happens in the cloud.</summary>
    public void Freeze()
    {
        var now = new[] { "services", "endpoints", "endpointslices" }.SelectMany(plural => _cloud.List(plural, "everything", _ => true).Objects.Select(o => (plural, o))).ToList();
        lock (_gate)
        {
            if (!_follows)
            {
                return;
            }

            _follows = false;
            foreach (var (plural, value) in now)
            {
                _frozen[Key(plural, value)] = value;
            }
        }
    }

    /// <summary>The local database never got this object, or lost it.</summary>
    public void Lose(string plural, string space, string name)
    {
        Freeze();
        lock (_gate)
        {
            _frozen.Remove((plural, space, name));
        }
    }

    /// <summary>The local database gets this object as the cloud has it now; never a deletion.</summary>
    public void Hear(string plural, string space, string name)
    {
        Freeze();
        var now = _cloud.List(plural, "everything", _ => true).Objects.Find(o => Key(plural, o) == (plural, space, name));
        if (now is not null)
        {
            lock (_gate)
            {
                _frozen[(plural, space, name)] = now;
            }
        }
    }

    /// <summary>Lists are local, and nothing is told by watches.</summary>
    public void Disconnect()
    {
        Freeze();
        lock (_gate)
        {
            (_connected, _slow) = (false, true);
            _registration++;
        }
    }

    /// <summary>The cloud is back. Watches that are open stay silent until they are opened anew.</summary>
    public void Connect()
    {
        lock (_gate)
        {
            _connected = true;
            _registration++;
        }
    }

    /// <summary>As <see cref="Disconnect"/> and <see cref="Connect"/>, and no list came between.</summary>
    public void RestartCloud()
    {
        Freeze();
        Connect();
    }

    /// <summary>Lists of this kind are empty, and a watch of it hangs the cloud's controller for good.</summary>
    public void Forbid(string plural) => Locked(() => _forbidden.Add(plural));

    internal void Watched(string plural) => Locked(() => _hung |= _forbidden.Contains(plural));

    /// <summary>Whether a list is the cloud's; the time that it takes to find out that it is not.</summary>
    internal async Task<bool> AsksCloudAsync(string plural, CancellationToken cancellationToken)
    {
        var (cloud, wait) = Locked(() =>
        {
            var answer = (_connected && !_hung && !_forbidden.Contains(plural), _slow || _hung);
            _slow = false;
            return answer;
        });
        if (!cloud && wait)
        {
            await Task.Delay(FirstLocalList, cancellationToken);
        }

        return cloud;
    }

    internal List<JsonObject> Objects(string plural)
    {
        if (Locked(() => _forbidden.Contains(plural)))
        {
            return [];
        }

        return Follows ? _cloud.List(plural, "everything", _ => true).Objects : Locked(() => _frozen.Where(f => f.Key.Plural == plural).Select(f => f.Value).ToList());
    }

    private static (string, string, string) Key(string plural, JsonObject value) =>
        (plural, (string?)value["metadata"]!["namespace"] ?? "", (string)value["metadata"]!["name"]!);

    private T Locked<T>(Func<T> read)
    {
        lock (_gate)
        {
            return read();
        }
    }
}
