using System.Net;
using EdgeMesh.LibP2P.Addresses;
using Microsoft.Extensions.Logging;

namespace EdgeMesh.Tunnel;

/// <summary>Faults that an operator can mend, each address once a minute: a key or a name that differs shows as a failure with
/// every attempt, and attempts go on for ever.</summary>
internal sealed partial class MeshFaults(ILogger logger, TimeProvider time)
{
    private const int MaxAddresses = 256;
    private static readonly TimeSpan Quiet = TimeSpan.FromMinutes(1);

    private readonly Lock _gate = new();
    private readonly Dictionary<(string Address, int Fault), long> _told = [];

    /// <summary>Somebody else answered than the node that is configured or announced there.</summary>
    internal void OtherPeer(Multiaddr address, string node)
    {
        if (IsNew(address, 1))
            LogOtherPeer(logger, Text(address), node);
    }

    /// <summary>A dialer went away when it saw this node's identity.</summary>
    internal void BrokeOff(Multiaddr address)
    {
        if (IsNew(address, 2))
            LogBrokeOff(logger, Text(address));
    }

    /// <summary>A peer calls itself by a name that its identity does not have.</summary>
    internal void NotItsName(Multiaddr? address, string node)
    {
        if (IsNew(address, 3))
            LogNotItsName(logger, Text(address), node);
    }

    /// <summary>Another machine has this node's name and key.</summary>
    internal void OwnName(Multiaddr? address, string node)
    {
        if (IsNew(address, 4))
            LogOwnName(logger, Text(address), node);
    }

    /// <summary>A dialer proved another key than this mesh's.</summary>
    internal void OtherKey(Multiaddr address)
    {
        if (IsNew(address, 5))
            LogOtherKey(logger, Text(address));
    }

    private bool IsNew(Multiaddr? address, int fault)
    {
        // A dialer's port is another one with each attempt.
        var place = address is not null && address.TryGetTcpEndPoint(out var endPoint) ? endPoint.Address.ToString() : "";
        var now = time.GetTimestamp();
        lock (_gate)
        {
            if (_told.TryGetValue((place, fault), out var last) && time.GetElapsedTime(last, now) < Quiet)
                return false;
            if (_told.Count >= MaxAddresses)
            {
                foreach (var (key, told) in _told)
                {
                    if (time.GetElapsedTime(told, now) >= Quiet)
                        _told.Remove(key);
                }

                // So many at once is no fault of one node's settings.
                if (_told.Count >= MaxAddresses)
                    return false;
            }

            _told[(place, fault)] = now;
            return true;
        }
    }

    private static string Text(Multiaddr? address) => address switch
    {
        null => "an unknown address",
        { IsRelayed: true } => address.ToString(),
        _ when address.TryGetTcpEndPoint(out IPEndPoint? endPoint) => endPoint.ToString(),
        _ => address.ToString(),
    };

    [LoggerMessage(6010, LogLevel.Warning, "The peer at {Address} is not {Node}, or has another key: its identity is not the one that this node's key gives to that name. Compare the key files (modules.edgeTunnel.psk.path) and the node names on both sides.")]
    private static partial void LogOtherPeer(ILogger logger, string address, string node);

    [LoggerMessage(6011, LogLevel.Warning, "A node at {Address} broke off the handshake when it saw this node's identity: it has another key, or knows this address under another node name. Compare the key files (modules.edgeTunnel.psk.path) and the node names on both sides.")]
    private static partial void LogBrokeOff(ILogger logger, string address);

    [LoggerMessage(6012, LogLevel.Warning, "The peer at {Address} calls itself {Node}, but its identity is not the one that this node's key gives to that name; it is refused. Compare the key files (modules.edgeTunnel.psk.path) and the node names on both sides.")]
    private static partial void LogNotItsName(ILogger logger, string address, string node);

    [LoggerMessage(6014, LogLevel.Warning, "A node at {Address} has another key than this one, and is refused. Compare the key files (modules.edgeTunnel.psk.path) on both sides.")]
    private static partial void LogOtherKey(ILogger logger, string address);

    [LoggerMessage(6013, LogLevel.Warning, "The peer at {Address} has this node's own name, {Node}: two nodes with one name cannot both be reached. Give each its own.")]
    private static partial void LogOwnName(ILogger logger, string address, string node);
}
