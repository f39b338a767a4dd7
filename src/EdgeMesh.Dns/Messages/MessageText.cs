using System.Buffers.Binary;
using System.Globalization;
using System.Net;
using System.Text;

namespace EdgeMesh.Dns.Messages;

/// <summary>Messages as people read and write them. What stands in a message is somebody else's: it is shown as it is where it can be
/// read, and as bytes where not.</summary>
public static class MessageText
{
    private static readonly (RecordType Type, string Name)[] _types =
    [
        (RecordType.A, "A"), (RecordType.Aaaa, "AAAA"), (RecordType.CName, "CNAME"), (RecordType.DName, "DNAME"), (RecordType.HInfo, "HINFO"),
        (RecordType.Https, "HTTPS"), (RecordType.MX, "MX"), (RecordType.NS, "NS"), (RecordType.Ptr, "PTR"), (RecordType.Soa, "SOA"),
        (RecordType.Srv, "SRV"), (RecordType.Txt, "TXT"), (RecordType.Any, "ANY"),
    ];

    /// <returns>Like <c>AAAA</c>, or <c>TYPE99</c> (RFC 3597) for a type without a name here.</returns>
    public static string Of(RecordType type) =>
        Array.Find(_types, t => t.Type == type).Name ?? string.Create(CultureInfo.InvariantCulture, $"TYPE{(int)type}");

    /// <summary>Reads what <see cref="Of(RecordType)"/> writes, in any case, and plain numbers.</summary>
    public static bool TryReadType(string text, out RecordType type)
    {
        ArgumentNullException.ThrowIfNull(text);
        foreach (var known in _types)
        {
            if (known.Name.Equals(text, StringComparison.OrdinalIgnoreCase))
            {
                type = known.Type;
                return true;
            }
        }

        var digits = text.StartsWith("TYPE", StringComparison.OrdinalIgnoreCase) ? text.AsSpan(4) : text;
        var isNumber = ushort.TryParse(digits, NumberStyles.None, CultureInfo.InvariantCulture, out var number) && number > 0;
        type = (RecordType)number;
        return isNumber;
    }

    public static string Of(ResponseCode code) => code switch
    {
        ResponseCode.NoError => "NOERROR",
        ResponseCode.NameError => "NXDOMAIN",
        ResponseCode.ServerFailure => "SERVFAIL",
        ResponseCode.FormatError => "FORMERR",
        ResponseCode.NotImplemented => "NOTIMP",
        ResponseCode.Refused => "REFUSED",
        ResponseCode.BadVersion => "BADVERS",
        var other => string.Create(CultureInfo.InvariantCulture, $"RCODE{(int)other}"),
    };

    /// <summary>A line for each record, with its section in front unless it is an answer: <c>web.example. 30 A 192.0.2.1</c>.</summary>
    /// <returns>The last line says MALFORMED where what follows cannot be read.</returns>
    public static IReadOnlyList<string> Records(ReadOnlySpan<byte> message)
    {
        var lines = new List<string>();
        if (!RecordReader.TryOpen(message, out var records))
            return ["MALFORMED"];
        while (records.TryNext())
            lines.Add(Of(records.Current));
        if (records.IsMalformed || records.Position != message.Length)
            lines.Add("MALFORMED");
        return lines;
    }

    private static string Of(in DnsRecord record)
    {
        var section = record.Section switch { Section.Authority => "authority: ", Section.Additional => "additional: ", _ => "" };
        return record.Type == RecordType.Opt
            ? string.Create(CultureInfo.InvariantCulture, $"{section}OPT {record.Class}")
            : string.Create(CultureInfo.InvariantCulture, $"{section}{NameAt(record.Message, record.Start)} {record.TimeToLive} {Of(record.Type)} {DataOf(record)}");
    }

    private static string DataOf(in DnsRecord record) => (record.Type, record.DataLength) switch
    {
        (RecordType.A, 4) or (RecordType.Aaaa, 16) => new IPAddress(record.Data).ToString(),
        (RecordType.CName or RecordType.DName or RecordType.Ptr or RecordType.NS, _) => NameAt(record.Message, record.DataAt),
        (RecordType.MX, > 2) => string.Create(CultureInfo.InvariantCulture, $"{Number(record, 0)} {NameAt(record.Message, record.DataAt + 2)}"),
        (RecordType.Srv, > 6) => string.Create(CultureInfo.InvariantCulture, $"{Number(record, 0)} {Number(record, 2)} {Number(record, 4)} {NameAt(record.Message, record.DataAt + 6)}"),
        (RecordType.Txt, > 0) => Texts(record.Data),
        // Who has it, and for how long nobody asks again.
        (RecordType.Soa, >= 20) => string.Create(CultureInfo.InvariantCulture, $"{NameAt(record.Message, record.DataAt)} {BinaryPrimitives.ReadUInt32BigEndian(record.Data[^4..])}"),
        _ => Convert.ToHexString(record.Data),
    };

    private static ushort Number(in DnsRecord record, int at) => BinaryPrimitives.ReadUInt16BigEndian(record.Data[at..]);

    private static string Texts(ReadOnlySpan<byte> data)
    {
        var text = new StringBuilder();
        while (!data.IsEmpty)
        {
            var length = Math.Min(data[0], data.Length - 1);
            text.Append(text.Length == 0 ? "\"" : " \"");
            foreach (var character in data.Slice(1, length))
            {
                if (character is < 0x20 or >= 0x7F)
                    text.Append(CultureInfo.InvariantCulture, $"\\{character:D3}");
                else
                    text.Append(character is (byte)'"' or (byte)'\\' ? "\\" : "").Append((char)character);
            }

            text.Append('"');
            data = data[(1 + length)..];
        }

        return text.ToString();
    }

    private static string NameAt(ReadOnlySpan<byte> message, int at)
    {
        Span<byte> name = stackalloc byte[DnsLimits.MaxName];
        return WireName.TryRead(message, ref at, name, out var length) ? WireName.ToText(name[..length]) : "MALFORMED";
    }
}
