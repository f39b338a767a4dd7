using System.Diagnostics.Metrics;
using EdgeMesh.Linux.Netlink;
using EdgeMesh.Netfilter.Nftables;
using Microsoft.Extensions.Logging;

namespace EdgeMesh.Agent.Hosting;

/// <summary>Hands small changes of nftables rules to the kernel, and counts what became of them. What the kernel refuses the
/// caller sends through nft, so a refusal costs time and nothing else.</summary>
internal sealed partial class DirectChanges : IDisposable
{
    private readonly NftSend _send;
    private readonly ILogger<DirectChanges> _logger;
    private readonly Meter _meter = new("EdgeMesh.Rules");
    private long _applied;
    private long _refused;

    public DirectChanges(NftSend send, ILogger<DirectChanges> logger)
    {
        _send = send;
        _logger = logger;
        _meter.CreateObservableCounter(
            "edgemesh_direct_rule_changes_total",
            () => (Measurement<long>[])
            [
                new(Applied, new KeyValuePair<string, object?>("result", "applied")),
                new(Refused, new KeyValuePair<string, object?>("result", "refused")),
            ],
            null, "Changes of nftables rules handed to the kernel without the nft program, by result.");
    }

    public long Applied => Volatile.Read(ref _applied);

    public long Refused => Volatile.Read(ref _refused);

    /// <summary>As <see cref="NftSend"/>. One caller at a time.</summary>
    public int Send(ReadOnlySpan<byte> batch, uint sequence)
    {
        var errno = _send(batch, sequence);
        if (errno == 0)
        {
            Volatile.Write(ref _applied, _applied + 1);
            return 0;
        }

        // Once: a kernel that does not take these messages refuses every one.
        if (_refused == 0)
            LogRefused(NetlinkException.Describe(errno));
        Volatile.Write(ref _refused, _refused + 1);
        return errno;
    }

    public void Dispose() => _meter.Dispose();

    [LoggerMessage(1110, LogLevel.Warning, "The kernel refused a change of rules over netlink: {Reason}. The nft program carries it, and any other that is refused: slower, but right. If edgemesh_direct_rule_changes_total{{result=\"refused\"}} goes on growing, please report it with the version of the kernel.")]
    private partial void LogRefused(string reason);
}
