using System.Collections.Immutable;
using System.Net;
using System.Security.Cryptography;
using EdgeMesh.LibP2P;
using EdgeMesh.LibP2P.Addresses;
using EdgeMesh.LibP2P.Admission;
using EdgeMesh.LibP2P.Connections;
using EdgeMesh.LibP2P.Cryptography;
using EdgeMesh.LibP2P.Noise;
using EdgeMesh.LibP2P.Relay;
using EdgeMesh.LibP2P.Wire;
using EdgeMesh.Testing;
using Microsoft.Extensions.Logging.Abstractions;
using Xunit;

namespace EdgeMesh.Tests.LibP2P;

/// <summary>Who has not proved the key gets nothing.</summary>
public sealed class AdmissionTests
{
    private static readonly byte[] One = RandomNumberGenerator.GetBytes(AdmissionKeys.KeySize);
    private static readonly byte[] Two = RandomNumberGenerator.GetBytes(AdmissionKeys.KeySize);
    private static readonly byte[] Three = RandomNumberGenerator.GetBytes(AdmissionKeys.KeySize);

    private readonly PeerId _listener = NewPeer();

    [Fact]
    public void AFlightIsJudgedAtItsLastByteAndNoSooner()
    {
        var flight = Flight(Keys(One), _listener);
        var listener = Keys(_listener, One);
        for (var length = 0; length < flight.Length; length++)
            Assert.Equal(AdmissionVerdict.Incomplete, FirstFlight.Judge(listener, flight.AsSpan(0, length), explain: true, out _));
        Assert.Equal(AdmissionVerdict.Proven, FirstFlight.Judge(listener, flight, explain: false, out var mark));
        Assert.NotEqual(0ul, mark);
        Assert.True(flight.Length <= FirstFlight.MaxLength);
    }

    [Fact]
    public void EveryBitOfAFlightCounts()
    {
        var flight = Flight(Keys(One), _listener);
        var listener = Keys(_listener, One);
        // The proof for the mesh says only why a flight was wrong.
        var mesh = flight.Length - 32;
        for (var at = 0; at < flight.Length; at++)
        {
            var changed = (byte[])flight.Clone();
            changed[at] ^= 0x10;
            var verdict = FirstFlight.Judge(listener, changed, explain: true, out _);
            Assert.Equal(at >= mesh && at < mesh + 16, verdict == AdmissionVerdict.Proven);
        }
    }

    [Fact]
    public void AProofIsForOneListenerAndSaysSoToAnother()
    {
        var other = NewPeer();
        Assert.Equal(AdmissionVerdict.OtherListener, Judge(Flight(Keys(One), other), Keys(_listener, One)));
        Assert.Equal(AdmissionVerdict.OtherKey, Judge(Flight(Keys(Two), _listener), Keys(_listener, One)));
        Assert.Equal(AdmissionVerdict.Foreign, Judge([.. "GET / HTTP/1.1\r\n"u8], Keys(_listener, One)));
    }

    /// <summary>First old, new everywhere; then new, old; then new alone. At each step nodes of both steps meet.</summary>
    [Theory]
    [InlineData("1", "12", true)]
    [InlineData("12", "1", true)]
    [InlineData("12", "21", true)]
    [InlineData("21", "12", true)]
    [InlineData("21", "2", true)]
    [InlineData("2", "21", true)]
    [InlineData("1", "2", false)]
    [InlineData("13", "2", false)]
    public void WhileAKeyIsChangedNodesOfNeighbouringStepsAdmitEachOther(string dialer, string listener, bool admitted)
    {
        var identities = listener.Concat(dialer).Distinct().ToDictionary(k => k, _ => NewPeer());
        var flight = Flight(Keys([.. dialer.Select(Key)]), [.. dialer.Select(k => identities[k])]);
        var verdict = Judge(flight, Keys(identities[listener[0]], [.. listener.Select(Key)]));
        Assert.Equal(admitted, verdict == AdmissionVerdict.Proven);

        static byte[] Key(char name) => name switch { '1' => One, '2' => Two, _ => Three };
    }

    [Fact]
    public async Task AListenerGoesOnOnlyWithDialersThatProveTheKey()
    {
        var refused = new TaskCompletionSource<Exception>();
        await using var listener = Host(One, o => o with { Refused = (_, e) => refused.TrySetResult(e) });
        var address = listener.Listen(new IPEndPoint(IPAddress.Loopback, 0));
        await using var member = Host(One);
        Assert.Equal(listener.PeerId, (await member.DialAsync(address, CancellationToken.None)).RemotePeer);

        await using var other = Host(Two);
        await Assert.ThrowsAsync<ProofRefusedException>(() => other.DialAsync(address, CancellationToken.None));
        Assert.Equal(AdmissionVerdict.OtherKey, Assert.IsType<NotAdmittedException>(await refused.Task).Verdict);
        await using var plain = Host(null);
        await Assert.ThrowsAnyAsync<IOException>(() => plain.DialAsync(address, CancellationToken.None));
    }

    [Fact]
    public async Task APeerThatKnowsNothingOfTheProofPassesOverIt()
    {
        await using var plain = Host(null);
        var address = plain.Listen(new IPEndPoint(IPAddress.Loopback, 0));
        await using var member = Host(One);
        Assert.Equal(plain.PeerId, (await member.DialAsync(address, CancellationToken.None)).RemotePeer);
    }

    [Fact]
    public async Task ThroughARelayTheFarListenerAsksForTheProofItself()
    {
        await using var relay = Host(null);
        RelayServer.Attach(relay, new RelayServerOptions());
        var address = relay.Listen(new IPEndPoint(IPAddress.Loopback, 0));
        await using var far = Host(One);
        await RelayClient.Attach(far).ReserveAsync(await far.DialAsync(address, CancellationToken.None), CancellationToken.None);

        await using var member = Host(One);
        var client = RelayClient.Attach(member);
        var through = await client.DialAsync(await member.DialAsync(address, CancellationToken.None), far.PeerId, CancellationToken.None);
        Assert.Equal(far.PeerId, through.RemotePeer);
        foreach (var key in new[] { Two, null })
        {
            await using var stranger = Host(key);
            var toRelay = await stranger.DialAsync(address, CancellationToken.None);
            await Assert.ThrowsAnyAsync<IOException>(() => RelayClient.Attach(stranger).DialAsync(toRelay, far.PeerId, CancellationToken.None));
        }

        Assert.Equal(2, far.Connections.Count);
    }

    [Fact]
    public void NothingIsComputedForAListenerBeforeTheProofIsThere()
    {
        var made = 0;
        using var identity = Ed25519KeyPair.Create();
        using var output = new ByteQueue(100_000);
        using var listener = new NoiseSession(false, identity, new NoiseTerms { Admission = Keys(identity.PeerId, One) }, [], output, () =>
        {
            made++;
            return new NoiseHandshake(false, X25519KeyPair.Create(), X25519KeyPair.Create(), []);
        });
        Assert.Throws<NotAdmittedException>(() => Receive(listener, [0, 32, .. new byte[32]]));
        Assert.Throws<NotAdmittedException>(() => Receive(listener, [0, 3, 1, 2, 3]));
        Assert.Equal((0, 0), (made, output.Count));
    }

    [Fact]
    public void AKeyOfAnotherKindEndsTheHandshakeBeforeItIsTouched()
    {
        using var rsa = RSA.Create(2048);
        var key = new PublicKey(KeyType.Rsa, rsa.ExportSubjectPublicKeyInfo());
        using var output = new ByteQueue(100_000);
        using var identity = Ed25519KeyPair.Create();
        using var dialer = new NoiseSession(true, identity, new NoiseTerms { Keys = [KeyType.Ed25519] }, [], output);
        var handshake = new NoiseHandshake(false, X25519KeyPair.Create(), X25519KeyPair.Create(), []);
        _ = handshake.Read(output.Data[2..], new byte[1000]);
        var payload = new NoisePayload { IdentityKey = key, Signature = rsa.SignData([.. "noise-libp2p-static-key:"u8, .. handshake.LocalStatic], HashAlgorithmName.SHA256, RSASignaturePadding.Pkcs1) };
        var answer = new byte[5000];
        var length = handshake.Write(payload.Encode(), answer.AsSpan(2));
        (answer[0], answer[1]) = ((byte)(length >> 8), (byte)length);
        var fault = Assert.Throws<PeerProtocolException>(() => Receive(dialer, answer[..(length + 2)]));
        Assert.Contains("Rsa", fault.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void WhoeverOpensManyDisplacesItsOwn()
    {
        var places = new FairPlaces<int>(total: 6, perShare: 4, reserved: 2, TimeSpan.Zero, TimeProvider.System);
        var (busy, quiet, known) = (Share(1), Share(2), Share(3));
        Assert.True(places.TryTake(quiet, isKnown: false, 100, out _, out var displaced));
        for (var i = 0; i < 50; i++)
        {
            Assert.True(places.TryTake(busy, isKnown: false, i, out _, out displaced));
            // Unknown ones have four places together.
            Assert.Equal(i >= 3, displaced.Is);
            if (displaced.Is)
                Assert.Equal(i - 3, displaced.Holder);
        }

        // A third that is unknown takes its place from whoever has most, and known ones find theirs free.
        Assert.True(places.TryTake(Share(4), isKnown: false, 200, out _, out displaced));
        Assert.Equal((true, 47), displaced);
        for (var i = 0; i < 2; i++)
        {
            Assert.True(places.TryTake(known, isKnown: true, 300 + i, out _, out displaced));
            Assert.False(displaced.Is);
        }

        Assert.Equal(6, places.Count);
        // Beyond that an unknown one gives way to a known one, and never the other way round.
        Assert.True(places.TryTake(known, isKnown: true, 302, out _, out displaced));
        Assert.Equal((true, 48), displaced);
        for (var i = 0; i < 20; i++)
        {
            Assert.True(places.TryTake(Share(100 + i), isKnown: false, 400 + i, out _, out displaced));
            Assert.True(!displaced.Is || displaced.Holder < 300 || displaced.Holder >= 400);
        }
    }

    [Fact]
    public void AYoungHolderIsNotDisplacedAndAnOldOneIsGivenUpInTime()
    {
        var time = new ManualTime();
        var places = new FairPlaces<string>(total: 2, perShare: 2, reserved: 0, TimeSpan.FromSeconds(1), time);
        Assert.True(places.TryTake(Share(1), false, "first", out var first, out _));
        Assert.True(places.TryTake(Share(1), false, "second", out _, out _));
        Assert.False(places.TryTake(Share(2), false, "third", out _, out _));
        time.Advance(TimeSpan.FromSeconds(2));
        Assert.True(places.TryTake(Share(2), false, "third", out _, out var displaced));
        Assert.Equal((true, "first"), displaced);
        // A ticket of one who was displaced is worth nothing.
        places.Return(first);
        Assert.Equal(2, places.Count);
        Assert.True(places.TryTakeOverdue(TimeSpan.FromSeconds(2), out var overdue));
        Assert.Equal("second", overdue);
        Assert.False(places.TryTakeOverdue(TimeSpan.FromSeconds(2), out _));
    }

    [Fact]
    public void AShareIsOneIPv4AddressOrOneIPv6Network()
    {
        Assert.Equal(AddressShare.Of(IPAddress.Parse("2001:db8::1")), AddressShare.Of(IPAddress.Parse("2001:db8::ffff:2")));
        Assert.NotEqual(AddressShare.Of(IPAddress.Parse("2001:db8::1")), AddressShare.Of(IPAddress.Parse("2001:db8:0:1::1")));
        Assert.NotEqual(AddressShare.Of(IPAddress.Parse("192.0.2.1")), AddressShare.Of(IPAddress.Parse("192.0.2.2")));
        Assert.Equal(AddressShare.Of(IPAddress.Parse("192.0.2.1")), AddressShare.Of(IPAddress.Parse("::ffff:192.0.2.1")));
    }

    [Fact]
    public void ABucketTakesABurstAndThenItsRate()
    {
        var time = new ManualTime();
        var bucket = new TokenBucket(burst: 10, perSecond: 5);
        for (var i = 0; i < 10; i++)
            Assert.True(bucket.TryTake(time));
        Assert.False(bucket.TryTake(time));
        time.Advance(TimeSpan.FromSeconds(1));
        for (var i = 0; i < 5; i++)
            Assert.True(bucket.TryTake(time));
        Assert.False(bucket.TryTake(time));
        time.Advance(TimeSpan.FromHours(1));
        Assert.True(bucket.IsFull(time));
    }

    private static AddressShare Share(uint number) => AddressShare.OfIPv4(number);

    private static AddressShare Share(int number) => Share((uint)number);

    private static PeerId NewPeer()
    {
        using var pair = Ed25519KeyPair.Create();
        return pair.PeerId;
    }

    private AdmissionKeys Keys(params byte[][] keys) => Keys(NewPeer(), keys);

    private static AdmissionKeys Keys(PeerId self, params byte[][] keys) => new([.. keys], self);

    private static byte[] Flight(AdmissionKeys keys, params PeerId[] listeners)
    {
        var ephemeral = RandomNumberGenerator.GetBytes(32);
        var payload = keys.Prove(ephemeral, listeners);
        return [.. "\x13/multistream/1.0.0\n\x07/noise\n"u8, 0, (byte)(32 + payload.Length), .. ephemeral, .. payload];
    }

    private static AdmissionVerdict Judge(byte[] flight, AdmissionKeys listener) => FirstFlight.Judge(listener, flight, explain: true, out _);

    private static void Receive(NoiseSession session, byte[] bytes)
    {
        using var plain = new ByteQueue(1000);
        ReadOnlySpan<byte> input = bytes;
        session.Receive(ref input, plain);
    }

    private static PeerHost Host(byte[]? key, Func<PeerHostOptions, PeerHostOptions>? change = null)
    {
        var identity = Ed25519KeyPair.Create();
        var options = new PeerHostOptions { Identity = identity, Security = [NoiseSession.Protocol], Admission = key is null ? null : Keys(identity.PeerId, key) };
        return new PeerHost(change?.Invoke(options) ?? options, NullLogger.Instance);
    }
}
