using System.Collections.Immutable;
using EdgeMesh.Kubernetes.Api;
using EdgeMesh.Linux;
using EdgeMesh.Net;

namespace EdgeMesh.Catalog;

/// <summary>Applies <see cref="AddressRules"/> to one service, and remembers in words what it refused.</summary>
internal sealed class AddressScreen
{
    private const int MostNamed = 8;
    private const int LongestShown = 40;

    private static readonly (string Word, AddressRefusal Refusal)[] Words =
    [
        ("loopback", AddressRefusal.Loopback),
        ("link-local", AddressRefusal.LinkLocal),
        ("multicast", AddressRefusal.Multicast),
        ("unspecified", AddressRefusal.Unspecified),
        ("broadcast", AddressRefusal.Broadcast),
        ("own-address", AddressRefusal.OwnAddress),
        ("control-plane", AddressRefusal.ControlPlane),
        ("agent-port", AddressRefusal.AgentPort),
    ];

    private readonly ProtectedAddresses _node;
    private readonly AddressRefusal _allowed;
    private readonly bool _isApi;
    private readonly HashSet<InetEndpoint> _named = [];
    private readonly List<string> _faults = [];
    private bool _more;

    public AddressScreen(Service? service, CatalogPolicy policy)
    {
        _node = policy.Protected;
        _isApi = service?.Key is { Namespace: "default", Name: "kubernetes" };
        if (service?.Metadata.Annotations.TryGetValue(CatalogLabels.AllowAddressAnnotation, out var text) != true)
            return;
        if (policy.HonoursAllowAddress)
            _allowed = Allowed(text!);
        else
            Say($"the annotation {CatalogLabels.AllowAddressAnnotation} counts in manifests only and is ignored here");
    }

    /// <summary>What was refused; bounded.</summary>
    public IEnumerable<string> Faults => _more ? _faults.Append("more addresses are refused") : _faults;

    /// <remarks>The service of the API itself is caught at the address at which a pod, and with it the agent, asks the API: the
    /// agent's own connections carry its mark and are not caught.</remarks>
    public bool MayCatch(InetEndpoint address)
    {
        var refusal = AddressRules.OfCatch(address, _node);
        return IsAllowed(refusal) || (_isApi && refusal == AddressRefusal.ControlPlane)
            || Refuse(address, $"{address} is not caught: {Reason(refusal)}{Override(refusal)}");
    }

    /// <remarks>The service of the API may lead to the metaServer that the agent itself asks, which is on the loopback device.</remarks>
    public bool MayDial(in TransportAddress place) =>
        (_isApi && _node.ControlPlane.Contains(place.Endpoint)) || MayDialForPeer(place);

    public bool MayDialForPeer(in TransportAddress place)
    {
        var refusal = AddressRules.OfDial(place.Endpoint, place.Protocol == TransportProtocol.Tcp, _node);
        return IsAllowed(refusal) || RefuseEndpoint(place.Endpoint, refusal);
    }

    private bool IsAllowed(AddressRefusal refusal) => (refusal & ~_allowed) == AddressRefusal.None;

    private bool RefuseEndpoint(InetEndpoint endpoint, AddressRefusal refusal) =>
        Refuse(endpoint, $"the endpoint {endpoint} is not dialled: {Reason(refusal)}{Override(refusal)}");

    private bool Refuse(InetEndpoint address, string fault)
    {
        if (_named.Count >= MostNamed)
            _more |= !_named.Contains(address);
        else if (_named.Add(address))
            _faults.Add(fault);
        return false;
    }

    /// <summary>What else is wrong with the addresses of the service.</summary>
    public void Say(string fault)
    {
        if (_faults.Count < MostNamed * 2)
            _faults.Add(fault);
        else
            _more = true;
    }

    /// <summary>What a field of an object holds, short enough to be told.</summary>
    public static string Shown(string text) => text.Length <= LongestShown ? text : text[..LongestShown] + "…";

    private AddressRefusal Allowed(string text)
    {
        var allowed = AddressRefusal.None;
        foreach (var word in text.Split(',', StringSplitOptions.TrimEntries | StringSplitOptions.RemoveEmptyEntries).Take(Words.Length * 2))
        {
            var known = Array.Find(Words, pair => pair.Word == word);
            if (known.Word is null)
            {
                Say($"the annotation {CatalogLabels.AllowAddressAnnotation} knows {string.Join(", ", Words.Select(pair => pair.Word))}, and not '{Shown(word)}'");
                break;
            }

            allowed |= known.Refusal;
        }

        return allowed;
    }

    private static string Reason(AddressRefusal refusal) => refusal switch
    {
        AddressRefusal.Loopback => "it is a loopback address",
        AddressRefusal.LinkLocal => "it is a link-local address",
        AddressRefusal.Multicast => "it is a multicast address",
        AddressRefusal.Unspecified => "it is the unspecified address",
        AddressRefusal.Broadcast => "it is a broadcast address",
        AddressRefusal.OwnAddress => "it is an address of this node",
        AddressRefusal.ControlPlane => "the agent itself asks the API there",
        AddressRefusal.AgentPort => "it is a port of this agent",
        _ => "it is an address of the agent's own listener",
    };

    private static string Override(AddressRefusal refusal) => Array.Find(Words, pair => pair.Refusal == refusal).Word is { } word
        ? $" (in a manifest the annotation {CatalogLabels.AllowAddressAnnotation}: {word} allows it)"
        : "";
}
