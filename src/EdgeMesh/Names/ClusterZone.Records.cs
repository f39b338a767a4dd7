using System.Buffers.Binary;
using EdgeMesh.Dns.Messages;
using EdgeMesh.Dns.Serving;
using EdgeMesh.Linux;
using EdgeMesh.Net;

namespace EdgeMesh.Names;

/// <summary>How records are written. What does not fit into a datagram is left out, and the answer says so.</summary>
public sealed partial class ClusterZone
{
    private const ushort Priority = 0;
    private const ushort Weight = 100;

    private static ReadOnlySpan<byte> ServerLabels => "\u0002ns\u0003dns"u8;

    private static ReadOnlySpan<byte> MailboxLabels => "\u000Ahostmaster"u8;

    private ZoneResult Deny(scoped Asked asked, scoped ref MessageWriter writer)
    {
        writer.SetCode(ResponseCode.NameError);
        return Nothing(asked, ref writer);
    }

    /// <summary>The name exists, and has nothing of this type (RFC 2308, 2.2).</summary>
    private ZoneResult Nothing(scoped Asked asked, scoped ref MessageWriter writer)
    {
        WriteStart(asked, Section.Authority, ref writer);
        return ZoneResult.Answered;
    }

    /// <summary>SOA.</summary>
    private void WriteStart(scoped Asked asked, Section section, scoped ref MessageWriter writer)
    {
        writer.BeginRecord(asked.DomainAt, RecordType.Soa, section == Section.Answer ? _options.TimeToLive : _options.NegativeTimeToLive);
        writer.PutData(ServerLabels);
        writer.PutPointer(asked.DomainAt);
        writer.PutData(MailboxLabels);
        writer.PutPointer(asked.DomainAt);
        // Nobody transfers this zone, so its serial says nothing.
        writer.PutUInt32(1);
        writer.PutUInt32(7200);
        writer.PutUInt32(1800);
        writer.PutUInt32(86400);
        writer.PutUInt32(_options.NegativeTimeToLive);
        _ = writer.EndRecord(section);
    }

    private ZoneResult WriteAddresses(scoped Asked asked, scoped ReadOnlySpan<InetAddress> addresses, int owner, Section section, scoped ref MessageWriter writer)
    {
        var before = writer.Position;
        for (var i = 0; i < addresses.Length; i++)
        {
            var address = addresses[(int)((asked.Turn + (uint)i) % (uint)addresses.Length)];
            if (!Wants(asked.Query.Type, address.IsIPv6))
                continue;
            WriteAddress(address, owner, ref writer);
            if (!writer.EndRecord(section))
            {
                writer.SetFlags(DnsHeader.TruncatedFlag);
                break;
            }
        }

        return writer.Position == before && section == Section.Answer ? Nothing(asked, ref writer) : ZoneResult.Answered;
    }

    private ZoneResult WriteAddresses(scoped Asked asked, HeadlessNames headless, scoped ref MessageWriter writer)
    {
        var before = writer.Position;
        for (var family = 0; family < 2; family++)
        {
            if (!Wants(asked.Query.Type, family == 1))
                continue;
            var endpoints = headless.OfFamily(family == 1);
            for (var i = 0; i < endpoints.Length; i++)
            {
                WriteAddress(endpoints[(int)((asked.Turn + (uint)i) % (uint)endpoints.Length)].Address, QuestionAt, ref writer);
                if (writer.EndRecord(Section.Answer))
                    continue;
                writer.SetFlags(DnsHeader.TruncatedFlag);
                return ZoneResult.Answered;
            }
        }

        return writer.Position == before ? Nothing(asked, ref writer) : ZoneResult.Answered;
    }

    private ZoneResult WriteHost(scoped Asked asked, HeadlessNames headless, HostMatch host, scoped ref MessageWriter writer)
    {
        var before = writer.Position;
        for (var i = 0; i < host.Count; i++)
        {
            var address = headless.At(host, (int)((asked.Turn + (uint)i) % (uint)host.Count)).Address;
            if (!Wants(asked.Query.Type, address.IsIPv6))
                continue;
            WriteAddress(address, QuestionAt, ref writer);
            if (!writer.EndRecord(Section.Answer))
            {
                writer.SetFlags(DnsHeader.TruncatedFlag);
                break;
            }
        }

        return writer.Position == before ? Nothing(asked, ref writer) : ZoneResult.Answered;
    }

    private void WriteAddress(in InetAddress address, int owner, scoped ref MessageWriter writer)
    {
        writer.BeginRecord(owner, address.IsIPv6 ? RecordType.Aaaa : RecordType.A, _options.TimeToLive);
        PutAddress(address, ref writer);
    }

    private static void PutAddress(in InetAddress address, scoped ref MessageWriter writer)
    {
        Span<byte> bytes = stackalloc byte[16];
        writer.PutData(bytes[..address.WriteBytes(bytes)]);
    }

    private static bool Wants(RecordType type, bool ipv6) => type == RecordType.Any || type == (ipv6 ? RecordType.Aaaa : RecordType.A);

    /// <summary>SRV records, and after them as many addresses of their targets as there is room for.</summary>
    /// <param name="serviceAt">Where SVC.NS.svc.DOMAIN stands in the message.</param>
    /// <param name="name">With <paramref name="protocol"/>: of which ports; empty: of all.</param>
    private ZoneResult WriteServices(
        scoped Asked asked, ServiceNames service, int serviceAt, scoped ReadOnlySpan<byte> name, scoped ReadOnlySpan<byte> protocol, scoped ref MessageWriter writer)
    {
        var target = asked.Query.Name[(serviceAt - QuestionAt)..];
        var before = writer.Position;
        if (service.Headless is { } headless)
            return WriteServices(asked, headless, serviceAt, target, name, protocol, ref writer);
        foreach (ref readonly var port in service.Ports.AsSpan())
        {
            if (!IsAsked(port, name, protocol))
                continue;
            BeginService(port.Number, ref writer);
            // Without compression (RFC 2782).
            writer.PutData(target);
            if (writer.EndRecord(Section.Answer))
                continue;
            writer.SetFlags(DnsHeader.TruncatedFlag);
            return ZoneResult.Answered;
        }

        if (writer.Position == before)
            return Nothing(asked, ref writer);
        foreach (ref readonly var address in service.Addresses.AsSpan())
        {
            WriteAddress(address, serviceAt, ref writer);
            if (!writer.EndRecord(Section.Additional))
                break;
        }

        return ZoneResult.Answered;
    }

    private ZoneResult WriteServices(
        scoped Asked asked,
        HeadlessNames headless,
        int serviceAt,
        scoped ReadOnlySpan<byte> target,
        scoped ReadOnlySpan<byte> name,
        scoped ReadOnlySpan<byte> protocol,
        scoped ref MessageWriter writer)
    {
        var before = writer.Position;
        Span<byte> digits = stackalloc byte[DashedAddress.LongestIPv4];
        var endpoints = headless.All;
        for (var i = 0; i < endpoints.Length; i++)
        {
            ref readonly var endpoint = ref endpoints[(int)((asked.Turn + (uint)i) % (uint)endpoints.Length)];
            var label = LabelOf(endpoint, digits);
            foreach (ref readonly var port in endpoint.Ports.AsSpan())
            {
                if (!IsAsked(port, name, protocol))
                    continue;
                BeginService(port.Number, ref writer);
                writer.PutByte((byte)label.Length);
                writer.PutData(label);
                writer.PutData(target);
                if (writer.EndRecord(Section.Answer))
                    continue;
                writer.SetFlags(DnsHeader.TruncatedFlag);
                return ZoneResult.Answered;
            }
        }

        if (writer.Position == before)
            return Nothing(asked, ref writer);
        Span<byte> owner = stackalloc byte[1 + DnsLimits.MaxLabel + 2];
        for (var i = 0; i < endpoints.Length; i++)
        {
            ref readonly var endpoint = ref endpoints[(int)((asked.Turn + (uint)i) % (uint)endpoints.Length)];
            if (!HasPort(endpoint.Ports, name, protocol) && !name.IsEmpty)
                continue;
            var label = LabelOf(endpoint, digits);
            owner[0] = (byte)label.Length;
            label.CopyTo(owner[1..]);
            BinaryPrimitives.WriteUInt16BigEndian(owner[(1 + label.Length)..], (ushort)(0xC000 | serviceAt));
            writer.BeginRecord(owner[..(label.Length + 3)], endpoint.Address.IsIPv6 ? RecordType.Aaaa : RecordType.A, _options.TimeToLive);
            PutAddress(endpoint.Address, ref writer);
            if (!writer.EndRecord(Section.Additional))
                break;
        }

        return ZoneResult.Answered;
    }

    private void BeginService(ushort port, scoped ref MessageWriter writer)
    {
        writer.BeginRecord(QuestionAt, RecordType.Srv, _options.TimeToLive);
        writer.PutUInt16(Priority);
        writer.PutUInt16(Weight);
        writer.PutUInt16(port);
    }

    private static ReadOnlySpan<byte> LabelOf(in EndpointNames endpoint, Span<byte> digits) =>
        endpoint.Label ?? (ReadOnlySpan<byte>)digits[..DashedAddress.WriteIPv4((uint)endpoint.Address.Bits, digits)];
}
