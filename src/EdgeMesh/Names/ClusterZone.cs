using System.Collections.Immutable;
using EdgeMesh.Dns.Messages;
using EdgeMesh.Dns.Serving;
using EdgeMesh.Kubernetes;
using EdgeMesh.Linux;
using EdgeMesh.Net;

namespace EdgeMesh.Names;

public sealed record ZoneOptions
{
    /// <summary>The zones that the cluster's names are in; the first one is told by PTR.</summary>
    public ImmutableArray<string> Domains { get; init; } = ["cluster.local"];

    public uint TimeToLive { get; init; } = 30;

    /// <summary>How long a client may remember that a name does not exist.</summary>
    public uint NegativeTimeToLive { get; init; } = 30;

    /// <summary>Whether NAMESPACE/pod names are answered (a-b-c-d.NS.pod); nobody looks whether the pod exists.</summary>
    public bool Pods { get; init; } = true;

    /// <summary>Where this server answers: the addresses of ns.dns.DOMAIN.</summary>
    public ImmutableArray<InetAddress> Servers { get; init; } = [];
}

/// <summary>
/// The names of a cluster, as the Kubernetes DNS specification 1.1.0 has them:
/// <code>
///   SVC.NS.svc.DOMAIN                    addresses, all SRV, or an alias
///   HOST.SVC.NS.svc.DOMAIN               one endpoint of a headless service
///   _PORT._PROTOCOL.SVC.NS.svc.DOMAIN    SRV
///   A-B-C-D.NS.pod.DOMAIN                the address itself
///   dns-version.DOMAIN, DOMAIN           TXT; SOA, NS
///   D.C.B.A.in-addr.arpa, ….ip6.arpa     PTR of what is known; all others are upstream's
/// </code>
/// Whatever is below DOMAIN and none of these does not exist, and every name above an existing one does.
/// </summary>
public sealed partial class ClusterZone : IZone
{
    private const ushort QuestionAt = DnsLimits.HeaderSize;

    private readonly ZoneIndex _index = new();
    private readonly ImmutableArray<Domain> _domains;
    private readonly ZoneOptions _options;

    /// <exception cref="ArgumentException">A domain is no name.</exception>
    public ClusterZone(ZoneOptions options)
    {
        ArgumentNullException.ThrowIfNull(options);
        _options = options;
        _domains = [.. options.Domains.Select(Domain.Parse).OrderByDescending(d => d.Name.Length)];
        First = Domain.Parse(options.Domains[0]);
    }

    /// <summary>False until facts are there: until then nothing is known, and nothing denied.</summary>
    public bool HasFacts => _index.HasFacts;

    public int ServiceCount => _index.ServiceCount;

    private Domain First { get; }

    /// <summary>Brings in what has changed since the last view. One thread at a time; those that answer go on meanwhile.</summary>
    /// <returns>How many services were looked at.</returns>
    public int Take(ClusterFacts facts)
    {
        ArgumentNullException.ThrowIfNull(facts);
        return _index.Take(facts);
    }

    /// <summary>Follows a source until cancelled.</summary>
    public async Task FollowAsync(IClusterSource source, CancellationToken cancellationToken)
    {
        ArgumentNullException.ThrowIfNull(source);
        ClusterFacts? seen = null;
        while (true)
        {
            seen = await source.NextAsync(seen, cancellationToken);
            Take(seen);
        }
    }

    public ZoneResult Answer(scoped in DnsQuery query, uint turn, scoped ref MessageWriter writer, scoped Span<byte> alias, out int aliasLength)
    {
        aliasLength = 0;
        Span<byte> lower = stackalloc byte[query.Name.Length];
        WireName.ToLower(query.Name, lower);
        Span<byte> offsets = stackalloc byte[DnsLimits.MaxLabels];
        var count = WireName.Labels(lower, offsets);
        offsets = offsets[..count];
        foreach (var domain in _domains)
        {
            if (count < domain.Labels || !(count == domain.Labels ? lower : lower[offsets[^domain.Labels]..]).SequenceEqual(domain.Name))
                continue;
            var asked = new Asked
            {
                Query = query,
                Lower = lower,
                Offsets = offsets,
                Below = count - domain.Labels,
                DomainAt = QuestionAt + (domain.Labels == 0 ? lower.Length - 1 : offsets[^domain.Labels]),
                Turn = turn,
            };
            writer.SetFlags(DnsHeader.AuthoritativeFlag);
            return AnswerBelow(asked, ref writer, alias, ref aliasLength);
        }

        return query.Type is RecordType.Ptr or RecordType.Any && ReverseName.TryRead(lower, offsets, out var address) && _index.Pointers(address) is { } pointers
            ? AnswerPointers(pointers, ref writer)
            : ZoneResult.NotOurs;
    }

    private ZoneResult AnswerBelow(scoped Asked asked, scoped ref MessageWriter writer, scoped Span<byte> alias, ref int aliasLength)
    {
        if (asked.Below == 0)
            return AnswerApex(asked, ref writer);
        var top = asked.Label(asked.Below - 1);
        if (top.SequenceEqual("dns-version"u8))
            return asked.Below == 1 ? AnswerVersion(asked, ref writer) : Deny(asked, ref writer);
        if (top.SequenceEqual("dns"u8))
            return AnswerServer(asked, ref writer);
        var isService = top.SequenceEqual("svc"u8);
        if (!isService && !(_options.Pods && top.SequenceEqual("pod"u8)))
            return Deny(asked, ref writer);
        if (!_index.HasFacts)
        {
            writer.SetCode(ResponseCode.ServerFailure);
            return ZoneResult.Answered;
        }

        if (asked.Below == 1)
            return Nothing(asked, ref writer);
        if (!_index.HasNamespace(asked.Wire(asked.Below - 2, 1)))
            return Deny(asked, ref writer);
        if (asked.Below == 2)
            return Nothing(asked, ref writer);
        return isService ? AnswerService(asked, ref writer, alias, ref aliasLength) : AnswerPod(asked, ref writer);
    }

    private ZoneResult AnswerService(scoped Asked asked, scoped ref MessageWriter writer, scoped Span<byte> alias, ref int aliasLength)
    {
        var at = asked.Below - 3;
        if (!_index.TryFind(asked.Wire(at, 2), out var service))
            return Deny(asked, ref writer);
        switch (at)
        {
            case 0 when service.ExternalName is { } target:
                writer.BeginRecord(QuestionAt, RecordType.CName, _options.TimeToLive);
                writer.PutData(target);
                _ = writer.EndRecord(Section.Answer);
                target.CopyTo(alias);
                aliasLength = target.Length;
                return ZoneResult.Alias;
            case 0:
                return asked.Query.Type == RecordType.Srv
                    ? WriteServices(asked, service, asked.QuestionOffset(0), [], [], ref writer)
                    : service.Headless is { } headless
                        ? WriteAddresses(asked, headless, ref writer)
                        : WriteAddresses(asked, service.Addresses, QuestionAt, Section.Answer, ref writer);
            case 1 when asked.Label(0) is [(byte)'_', .. var protocol]:
                return HasPort(service, default, protocol) ? Nothing(asked, ref writer) : Deny(asked, ref writer);
            case 1 when service.Headless is { } hosts && hosts.Find(asked.Label(0)) is { Count: > 0 } host:
                return WriteHost(asked, hosts, host, ref writer);
            case 2 when asked.Label(0) is [(byte)'_', _, ..] && asked.Label(1) is [(byte)'_', _, ..]:
                var port = asked.Label(0)[1..];
                var by = asked.Label(1)[1..];
                if (!HasPort(service, port, by))
                    return Deny(asked, ref writer);
                return asked.Query.Type is RecordType.Srv or RecordType.Any
                    ? WriteServices(asked, service, asked.QuestionOffset(2), port, by, ref writer)
                    : Nothing(asked, ref writer);
            default:
                return Deny(asked, ref writer);
        }
    }

    private ZoneResult AnswerPod(scoped Asked asked, scoped ref MessageWriter writer)
    {
        if (asked.Below != 3)
            return Deny(asked, ref writer);
        InetAddress address;
        if (DashedAddress.TryReadIPv4(asked.Label(0), out var bits))
            address = new InetAddress(bits, isIPv6: false);
        else if (!DashedAddress.TryReadIPv6(asked.Label(0), out address))
            return Deny(asked, ref writer);
        ReadOnlySpan<InetAddress> one = [address];
        return WriteAddresses(asked, one, QuestionAt, Section.Answer, ref writer);
    }

    private ZoneResult AnswerApex(scoped Asked asked, scoped ref MessageWriter writer)
    {
        switch (asked.Query.Type)
        {
            case RecordType.Soa:
                WriteStart(asked, Section.Answer, ref writer);
                return ZoneResult.Answered;
            case RecordType.NS:
                writer.BeginRecord(QuestionAt, RecordType.NS, _options.TimeToLive);
                writer.PutData(ServerLabels);
                writer.PutPointer(asked.DomainAt);
                _ = writer.EndRecord(Section.Answer);
                return ZoneResult.Answered;
            default:
                return Nothing(asked, ref writer);
        }
    }

    private ZoneResult AnswerVersion(scoped Asked asked, scoped ref MessageWriter writer)
    {
        if (asked.Query.Type is not (RecordType.Txt or RecordType.Any))
            return Nothing(asked, ref writer);
        writer.BeginRecord(QuestionAt, RecordType.Txt, _options.TimeToLive);
        writer.PutData("\u00051.1.0"u8);
        _ = writer.EndRecord(Section.Answer);
        return ZoneResult.Answered;
    }

    private ZoneResult AnswerServer(scoped Asked asked, scoped ref MessageWriter writer)
    {
        if (asked.Below == 1)
            return Nothing(asked, ref writer);
        return asked.Below == 2 && asked.Label(0).SequenceEqual("ns"u8)
            ? WriteAddresses(asked, _options.Servers.AsSpan(), QuestionAt, Section.Answer, ref writer)
            : Deny(asked, ref writer);
    }

    private ZoneResult AnswerPointers(PointerNames pointers, scoped ref MessageWriter writer)
    {
        writer.SetFlags(DnsHeader.AuthoritativeFlag);
        for (var pointer = pointers; pointer is not null; pointer = pointer.Next)
        {
            writer.BeginRecord(QuestionAt, RecordType.Ptr, _options.TimeToLive);
            if (pointer.Label is { } label)
            {
                writer.PutByte((byte)label.Length);
                writer.PutData(label);
            }

            writer.PutData(pointer.Service);
            writer.PutData("\u0003svc"u8);
            writer.PutData(First.Name);
            if (!writer.EndRecord(Section.Answer))
            {
                writer.SetFlags(DnsHeader.TruncatedFlag);
                break;
            }
        }

        return ZoneResult.Answered;
    }

    private static bool HasPort(ServiceNames service, ReadOnlySpan<byte> name, ReadOnlySpan<byte> protocol)
    {
        if (service.Headless is not { } headless)
            return HasPort(service.Ports, name, protocol);
        foreach (ref readonly var endpoint in headless.All)
        {
            if (HasPort(endpoint.Ports, name, protocol))
                return true;
        }

        return false;
    }

    private static bool HasPort(PortNames[] ports, ReadOnlySpan<byte> name, ReadOnlySpan<byte> protocol)
    {
        foreach (ref readonly var port in ports.AsSpan())
        {
            if (IsAsked(port, name, protocol) && port.Name.Length > 0)
                return true;
        }

        return false;
    }

    /// <summary>Empty words mean every port.</summary>
    private static bool IsAsked(in PortNames port, ReadOnlySpan<byte> name, ReadOnlySpan<byte> protocol) =>
        (name.IsEmpty || name.SequenceEqual(port.Name)) && (protocol.IsEmpty || protocol.SequenceEqual(port.Protocol));

    /// <summary>A zone's name.</summary>
    private sealed record Domain(byte[] Name, int Labels)
    {
        public static Domain Parse(string text)
        {
            var name = WireName.FromText(text) ?? throw new ArgumentException($"\"{text}\" is no name of a domain.", nameof(text));
            WireName.ToLower(name, name);
            return new Domain(name, name.Length == 1 ? 0 : text.TrimEnd('.').Count(c => c == '.') + 1);
        }
    }

    /// <summary>A question below one of the domains.</summary>
    private readonly ref struct Asked
    {
        public required DnsQuery Query { get; init; }

        /// <summary>The name in small letters.</summary>
        public required ReadOnlySpan<byte> Lower { get; init; }

        /// <summary>Where its labels begin.</summary>
        public required ReadOnlySpan<byte> Offsets { get; init; }

        /// <summary>How many labels there are before the domain.</summary>
        public required int Below { get; init; }

        /// <summary>Where the domain stands in the message.</summary>
        public required int DomainAt { get; init; }

        public required uint Turn { get; init; }

        public ReadOnlySpan<byte> Label(int index) => Lower.Slice(Offsets[index] + 1, Lower[Offsets[index]]);

        /// <summary>So many labels as they stand in a message.</summary>
        public ReadOnlySpan<byte> Wire(int index, int labels)
        {
            var end = index + labels < Offsets.Length ? Offsets[index + labels] : Lower.Length - 1;
            return Lower[Offsets[index]..end];
        }

        /// <summary>The name from a label on, in the case of the question.</summary>
        public ReadOnlySpan<byte> From(int index) => Query.Name[Offsets[index]..];

        /// <summary>Where a label of the question stands in the message.</summary>
        public int QuestionOffset(int index) => QuestionAt + Offsets[index];
    }
}
