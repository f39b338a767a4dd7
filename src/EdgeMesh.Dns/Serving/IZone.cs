using EdgeMesh.Dns.Messages;

namespace EdgeMesh.Dns.Serving;

public enum ZoneResult
{
    /// <summary>Of another zone: upstream is asked.</summary>
    NotOurs,

    /// <summary>The answer is written.</summary>
    Answered,

    /// <summary>An alias is written, and what it leads to is to follow it.</summary>
    Alias,
}

/// <summary>What a server knows itself. Asked by the threads of all servers at once.</summary>
public interface IZone
{
    /// <summary>Writes records and the code to <paramref name="writer"/>; allocates nothing.</summary>
    /// <param name="turn">Goes up with each question, so that addresses of one name can take turns.</param>
    /// <param name="alias">Room for a name; what an alias leads to, with <see cref="ZoneResult.Alias"/>.</param>
    ZoneResult Answer(scoped in DnsQuery query, uint turn, scoped ref MessageWriter writer, scoped Span<byte> alias, out int aliasLength);
}

/// <summary>A server that only forwards.</summary>
public sealed class NoZone : IZone
{
    public ZoneResult Answer(scoped in DnsQuery query, uint turn, scoped ref MessageWriter writer, scoped Span<byte> alias, out int aliasLength)
    {
        aliasLength = 0;
        return ZoneResult.NotOurs;
    }
}
