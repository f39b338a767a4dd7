using EdgeMesh.LibP2P.Addresses;
using EdgeMesh.LibP2P.Wire;

namespace EdgeMesh.LibP2P.Relay;

/// <summary>How a request to a relay, or of a relay, ended; the numbers are the protocol's.</summary>
public enum RelayStatus
{
    None = 0,
    Ok = 100,
    ReservationRefused = 200,
    ResourceLimitExceeded = 201,
    PermissionDenied = 202,
    ConnectionFailed = 203,
    NoReservation = 204,
    MalformedMessage = 400,
    UnexpectedMessage = 401,
}

/// <summary>What the messages of both protocols are about.</summary>
internal enum RelayMessageType
{
    Reserve,
    Connect,
    Status,
}

/// <summary>The bounds of one relayed connection; null is no bound.</summary>
public sealed record RelayLimit
{
    /// <summary>How long it may stand.</summary>
    public TimeSpan? Duration { get; init; }

    /// <summary>How many bytes it may carry in each direction.</summary>
    public long? Data { get; init; }
}

/// <summary>A place at a relay: whoever knows the relay can reach the holder through it for so long.</summary>
public sealed record RelayReservation
{
    /// <summary>What is assumed of a relay that says no duration, and a date that the clock here cannot make one of.</summary>
    public static readonly TimeSpan UsualTime = TimeSpan.FromHours(1);

    private static readonly TimeSpan LeastTime = TimeSpan.FromSeconds(1);
    private static readonly TimeSpan MostTime = TimeSpan.FromHours(24);

    /// <summary>The date that the relay says, by its own clock, which may be years from any other: for people and for peers
    /// that know nothing else.</summary>
    public required DateTimeOffset Expires { get; init; }

    /// <summary>How long it was granted for, from the moment of the answer; null: the relay did not say.</summary>
    public TimeSpan? Granted { get; init; }

    /// <summary>How long it lasts after the answer, whatever the clocks say.</summary>
    /// <param name="now">This side's clock. It counts only where the relay gives nothing but a date, and only if what follows
    /// from it is plausible.</param>
    public TimeSpan Lasts(DateTimeOffset now)
    {
        if (Granted is { } granted)
            return granted < LeastTime ? LeastTime : granted > MostTime ? MostTime : granted;
        var left = Expires - now;
        return left >= LeastTime && left <= MostTime ? left : UsualTime;
    }

    /// <summary>Where the relay says it can be reached.</summary>
    public IReadOnlyList<Multiaddr> Addresses { get; init; } = [];

    public RelayLimit? Limit { get; init; }
}

/// <summary>
/// One message of circuit relay v2, of either protocol. They differ in their numbers:
/// hop `{type=1 (RESERVE 0, CONNECT 1, STATUS 2), peer=2 {id=1, addrs=2*}, reservation=3 {expire=1, addrs=2*, 1024 granted
/// seconds (ours: dates need clocks that agree)}, limit=4
/// {duration=1, data=2}, status=5}`, stop `{type=1 (CONNECT 0, STATUS 1), peer=2, limit=3, status=4}`.
/// </summary>
internal sealed record RelayMessage
{
    internal const int MaxLength = 4096;

    private const int MaxAddresses = 32;
    private const int GrantedField = 1024;

    internal required RelayMessageType Type { get; init; }

    internal PeerId? Peer { get; init; }

    internal RelayReservation? Reservation { get; init; }

    internal RelayLimit? Limit { get; init; }

    internal RelayStatus Status { get; init; }

    internal byte[] EncodeHop() => ProtobufWriter.Message(this, static (message, queue) =>
    {
        var writer = new ProtobufWriter(queue);
        writer.Number(1, (ulong)message.Type);
        message.WriteRest(writer, limitField: 4, statusField: 5);
    });

    internal byte[] EncodeStop() => ProtobufWriter.Message(this, static (message, queue) =>
    {
        var writer = new ProtobufWriter(queue);
        writer.Number(1, (ulong)message.Type - 1);
        message.WriteRest(writer, limitField: 3, statusField: 4);
    });

    /// <summary>Reads a hop message; null if it is malformed.</summary>
    internal static RelayMessage? DecodeHop(ReadOnlySpan<byte> bytes) => Decode(bytes, typeOffset: 0, limitField: 4, statusField: 5);

    /// <summary>Reads a stop message; null if it is malformed.</summary>
    internal static RelayMessage? DecodeStop(ReadOnlySpan<byte> bytes) => Decode(bytes, typeOffset: 1, limitField: 3, statusField: 4);

    private void WriteRest(ProtobufWriter writer, int limitField, int statusField)
    {
        if (Peer is { } peer)
            writer.Bytes(2, ProtobufWriter.Message(peer, static (id, inner) => new ProtobufWriter(inner).Bytes(1, id.Multihash)));
        // In a stop message the field is the limit's.
        if (Reservation is { } reservation && limitField != 3)
            writer.Bytes(3, ProtobufWriter.Message(reservation, WriteReservation));
        if (Limit is { } limit)
            writer.Bytes(limitField, ProtobufWriter.Message(limit, WriteLimit));
        if (Status != RelayStatus.None)
            writer.Number(statusField, (ulong)Status);
    }

    private static void WriteReservation(RelayReservation reservation, ByteQueue queue)
    {
        var writer = new ProtobufWriter(queue);
        writer.Number(1, (ulong)reservation.Expires.ToUnixTimeSeconds());
        foreach (var address in reservation.Addresses)
            writer.Bytes(2, address.Bytes);
        if (reservation.Granted is { } granted)
            writer.Number(GrantedField, (ulong)granted.TotalSeconds);
    }

    private static void WriteLimit(RelayLimit limit, ByteQueue queue)
    {
        var writer = new ProtobufWriter(queue);
        if (limit.Duration is { } duration)
            writer.Number(1, (ulong)duration.TotalSeconds);
        if (limit.Data is { } data)
            writer.Number(2, (ulong)data);
    }

    private static RelayMessage? Decode(ReadOnlySpan<byte> bytes, int typeOffset, int limitField, int statusField)
    {
        ulong? type = null;
        PeerId? peer = null;
        RelayReservation? reservation = null;
        RelayLimit? limit = null;
        var status = RelayStatus.None;
        var reader = new ProtobufReader(bytes);
        var ok = bytes.Length <= MaxLength;
        while (ok && reader.Next())
        {
            if (reader.Field == 1 && reader.IsNumber)
                type = reader.Number + (ulong)typeOffset;
            else if (reader.Field == 2)
                ok = TryReadPeer(reader.Bytes, out peer);
            else if (reader.Field == limitField)
                ok = (limit = ReadLimit(reader.Bytes)) is not null;
            else if (reader.Field == statusField && reader.IsNumber)
                status = reader.Number <= int.MaxValue ? (RelayStatus)reader.Number : RelayStatus.UnexpectedMessage;
            else if (reader.Field == 3)
                ok = (reservation = ReadReservation(reader.Bytes)) is not null;
        }

        if (!ok || reader.Malformed || type is not <= (ulong)RelayMessageType.Status)
            return null;
        return new RelayMessage { Type = (RelayMessageType)type, Peer = peer, Reservation = reservation, Limit = limit, Status = status };
    }

    private static bool TryReadPeer(ReadOnlySpan<byte> bytes, out PeerId? peer)
    {
        peer = null;
        var reader = new ProtobufReader(bytes);
        while (reader.Next())
        {
            if (reader.Field == 1 && !PeerId.TryFromMultihash(reader.Bytes, out peer))
                return false;
        }

        return !reader.Malformed;
    }

    private static RelayLimit? ReadLimit(ReadOnlySpan<byte> bytes)
    {
        var limit = new RelayLimit();
        var reader = new ProtobufReader(bytes);
        while (reader.Next())
        {
            // Zero is no bound (the relay's specification).
            if (reader.Field == 1 && reader.Number is > 0 and <= int.MaxValue)
                limit = limit with { Duration = TimeSpan.FromSeconds(reader.Number) };
            else if (reader.Field == 2 && reader.Number is > 0 and <= long.MaxValue)
                limit = limit with { Data = (long)reader.Number };
        }

        return reader.Malformed ? null : limit;
    }

    private static RelayReservation? ReadReservation(ReadOnlySpan<byte> bytes)
    {
        // The last second that a date can have here.
        const ulong LastSecond = 253_402_300_799;
        ulong expires = 0;
        TimeSpan? granted = null;
        var addresses = new List<Multiaddr>();
        var reader = new ProtobufReader(bytes);
        while (reader.Next())
        {
            if (reader.Field == 1)
                expires = reader.Number;
            else if (reader.Field == GrantedField && reader.Number is > 0 and <= int.MaxValue)
                granted = TimeSpan.FromSeconds(reader.Number);
            else if (reader.Field == 2 && addresses.Count < MaxAddresses && Multiaddr.TryDecode(reader.Bytes, out var address))
                addresses.Add(address);
        }

        if (reader.Malformed || expires > LastSecond)
            return null;
        return new RelayReservation { Expires = DateTimeOffset.FromUnixTimeSeconds((long)expires), Granted = granted, Addresses = addresses };
    }
}
