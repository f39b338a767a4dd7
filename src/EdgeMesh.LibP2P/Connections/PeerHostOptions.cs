using EdgeMesh.LibP2P.Addresses;
using EdgeMesh.LibP2P.Admission;
using EdgeMesh.LibP2P.Cryptography;
using EdgeMesh.LibP2P.Noise;
using EdgeMesh.LibP2P.PrivateNetwork;
using EdgeMesh.LibP2P.Tls;
using EdgeMesh.LibP2P.Yamux;

namespace EdgeMesh.LibP2P.Connections;

/// <summary>Who a host is and what it allows.</summary>
public sealed record PeerHostOptions
{
    /// <summary>The host's identity; stays the caller's to dispose of.</summary>
    public required Ed25519KeyPair Identity { get; init; }

    /// <summary>Security protocols, best first.</summary>
    public IReadOnlyList<string> Security { get; init; } = [NoiseSession.Protocol, TlsSecurity.Protocol];

    /// <summary>The key of a private network: only holders of the same can connect.</summary>
    public PreSharedKey? PreSharedKey { get; init; }

    /// <summary>What a dialer proves in its first flight, over any transport, and a listener asks for before it spends anything.
    /// Null: neither, as in libp2p at large. Needs <see cref="NoiseSession.Protocol"/> to be the only security.</summary>
    public AdmissionKeys? Admission { get; init; }

    /// <summary>The kinds of identity keys that are verified in a Noise handshake; null: all that are known.</summary>
    public IReadOnlyList<KeyType>? IdentityKeys { get; init; }

    /// <summary>The bounds of every session.</summary>
    public YamuxOptions Yamux { get; init; } = new();

    /// <summary>What identify says this program is.</summary>
    public string AgentVersion { get; init; } = "edgemesh-libp2p/0.1.0";

    /// <summary>How long a TCP connection may take to be made.</summary>
    public TimeSpan ConnectTimeout { get; init; } = TimeSpan.FromSeconds(10);

    /// <summary>How long an upgrade may take, from the first byte to the muxer.</summary>
    public TimeSpan HandshakeTimeout { get; init; } = TimeSpan.FromSeconds(10);

    /// <summary>How long the negotiation of one stream may take.</summary>
    public TimeSpan NegotiationTimeout { get; init; } = TimeSpan.FromSeconds(10);

    /// <summary>A connection whose peer takes no bytes for so long is closed.</summary>
    public TimeSpan WriteTimeout { get; init; } = TimeSpan.FromSeconds(30);

    /// <summary>How often a sign of life is asked for; a connection on which nothing at all arrives between two asks ends.</summary>
    public TimeSpan KeepAlive { get; init; } = TimeSpan.FromSeconds(15);

    /// <summary>Connections that may stand at the same time; more are closed at once.</summary>
    public int MaxConnections { get; init; } = 4096;

    /// <summary>Inbound connections that may be in their handshake at the same time. They are shared fairly
    /// (<see cref="FairPlaces{T}"/>).</summary>
    public int MaxHandshakes { get; init; } = 256;

    /// <summary>Of these, from one IP address or IPv6 /64: whoever lets handshakes stall keeps only his own neighbours out.</summary>
    public int MaxHandshakesPerAddress { get; init; } = 64;

    /// <summary>A handshake that is younger does not give way to another.</summary>
    public TimeSpan HandshakeGrace { get; init; } = TimeSpan.FromSeconds(1);

    /// <summary>Whether peers that belong here are known to come from an address: a quarter of the places is theirs alone.</summary>
    public Func<AddressShare, bool>? IsKnownAddress { get; init; }

    /// <summary>Streams that a peer may have open before <see cref="PeerConnection.AllowStreams"/>; null: as many as
    /// <see cref="Yamux"/> says. A host that tells friends from strangers only after the handshake gives strangers few.</summary>
    public int? StreamsOfStrangers { get; init; }

    /// <summary>Told of every connection that stands, before the first stream on it; must be quick.</summary>
    public Action<PeerConnection>? Connected { get; init; }

    /// <summary>Told of every inbound connection that failed before it stood: from where, and why.</summary>
    public Action<Multiaddr, Exception>? Refused { get; init; }

    /// <summary>Sees every socket before it listens or connects.</summary>
    public Action<System.Net.Sockets.Socket>? PrepareSocket { get; init; }

    /// <summary>Moves the bytes of connections; null leaves that to tasks of each connection.</summary>
    public ConnectionDriver? Driver { get; init; }

    /// <summary>Runs what nobody waits for, by the name of its kind: the program that owns the host counts what fails there. It
    /// must begin the work before it returns. The default lets a fault go unseen.</summary>
    public Action<string, Func<Task>> Background { get; init; } = static (name, work) => _ = work();

    public TimeProvider Time { get; init; } = TimeProvider.System;
}
