using System.Text;
using EdgeMesh.LibP2P;
using EdgeMesh.LibP2P.Wire;

namespace EdgeMesh.Tunnel.Proxy;

/// <summary>How a request was taken; the numbers are the protocol's.</summary>
internal enum AnswerCode
{
    Ok = 0,
    NotListed = 1,
    DialFailed = 2,
    Limit = 3,
    Malformed = 4,
    Draining = 5,
}

/// <summary>The answer of `/edgemesh/proxy/2.0.0`: `{1 code, 2 text}`; the endpoint's bytes follow right behind it.</summary>
internal sealed record AnswerMessage(AnswerCode Code, string Text)
{
    internal const int MaxLength = 512;

    internal static AnswerMessage Ok { get; } = new(AnswerCode.Ok, "");

    internal byte[] Encode() => ProtobufWriter.Message(this, static (answer, queue) =>
    {
        var writer = new ProtobufWriter(queue);
        writer.Number(1, (ulong)answer.Code);
        writer.Text(2, answer.Text.Length <= MaxLength / 2 ? answer.Text : answer.Text[..(MaxLength / 2)]);
    });

    /// <exception cref="PeerProtocolException">The message is malformed or beyond its limits.</exception>
    internal static AnswerMessage Decode(ReadOnlySpan<byte> bytes)
    {
        ulong code = 0;
        var text = "";
        var reader = new ProtobufReader(bytes);
        while (bytes.Length <= MaxLength && reader.Next())
        {
            if (reader.Field == 1)
                code = reader.Number;
            else if (reader.Field == 2)
                text = Printable(reader.Bytes);
        }

        if (bytes.Length > MaxLength || reader.Malformed)
            throw new PeerProtocolException("an answer of the proxy is malformed or too long");
        // A code of a later version is a refusal all the same.
        return new AnswerMessage(code <= (ulong)AnswerCode.Draining ? (AnswerCode)code : AnswerCode.Malformed, text);
    }

    internal TunnelRefusal ToRefusal() => Code switch
    {
        AnswerCode.NotListed => TunnelRefusal.NotListed,
        AnswerCode.DialFailed => TunnelRefusal.DialFailed,
        AnswerCode.Limit => TunnelRefusal.Limit,
        AnswerCode.Draining => TunnelRefusal.Draining,
        _ => TunnelRefusal.Malformed,
    };

    private static string Printable(ReadOnlySpan<byte> bytes) =>
        string.Create(bytes.Length, bytes, static (text, source) =>
        {
            for (var i = 0; i < text.Length; i++)
                text[i] = source[i] is >= 0x20 and < 0x7F ? (char)source[i] : '?';
        });
}
