using System.Collections.Immutable;
using System.Text;
using EdgeMesh.Dns.Messages;

namespace EdgeMesh.Tunnel.Discovery;

/// <summary>
/// The little of DNS that libp2p's mDNS says: questions for PTR, answers PTR and TXT. Names are written without compression.
/// <see cref="DnsMessageReader"/> reads.
/// </summary>
internal sealed record DnsMessage
{
    /// <summary>As much as fits a frame of Ethernet jumbo size (RFC 6762, 17).</summary>
    internal const int MaxLength = 9000;

    private const int MaxText = 255;
    private const ushort AuthoritativeAnswer = DnsHeader.ResponseFlag | DnsHeader.AuthoritativeFlag;
    private const uint TimeToLive = 120;

    internal bool IsResponse { get; init; }

    /// <summary>Names for which PTR (or anything) is asked.</summary>
    internal ImmutableArray<string> Questions { get; init; } = [];

    internal ImmutableArray<(string Name, string Target)> Pointers { get; init; } = [];

    /// <summary>One entry per string of a TXT record.</summary>
    internal ImmutableArray<(string Name, string Text)> Texts { get; init; } = [];

    /// <summary>The message in bytes. Strings of one name share a TXT record. What does not fit is left out.</summary>
    internal byte[] Encode()
    {
        var buffer = new byte[MaxLength];
        var writer = new MessageWriter(buffer);
        writer.Begin(0, IsResponse ? AuthoritativeAnswer : (ushort)0);
        foreach (var question in Questions)
            writer.WriteQuestion([.. Name(question), 0, (byte)RecordType.Ptr, 0, (byte)DnsLimits.ClassInternet]);
        foreach (var (name, target) in Pointers)
        {
            writer.BeginRecord(Name(name), RecordType.Ptr, TimeToLive);
            writer.PutData(Name(target));
            _ = writer.EndRecord(Section.Answer);
        }

        foreach (var text in Texts.GroupBy(t => t.Name, StringComparer.Ordinal))
        {
            writer.BeginRecord(Name(text.Key), RecordType.Txt, TimeToLive);
            foreach (var (_, value) in text)
            {
                var bytes = Encoding.ASCII.GetBytes(value, 0, Math.Min(value.Length, MaxText));
                writer.PutByte((byte)bytes.Length);
                writer.PutData(bytes);
            }

            _ = writer.EndRecord(Section.Additional);
        }

        return buffer[..writer.Finish()];
    }

    private static byte[] Name(string text) => WireName.FromText(text) ?? throw new ArgumentException($"\"{text}\" is no name.", nameof(text));
}
