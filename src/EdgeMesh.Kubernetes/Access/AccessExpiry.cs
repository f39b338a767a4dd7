using System.Globalization;

namespace EdgeMesh.Kubernetes.Access;

/// <summary>Until when a certificate counts that the way to the API server depends on.</summary>
/// <param name="Certificate">client or ca.</param>
/// <param name="Name">Whose it is and where it stands, for messages.</param>
/// <param name="Remedy">What an operator does about it.</param>
public sealed record AccessExpiry(string Certificate, string Name, DateTimeOffset Ends, string Remedy)
{
    /// <summary>From when on it is named: certificates of a kubeadm cluster and of KubeEdge last for a year, and want a hand.</summary>
    public static readonly TimeSpan Ahead = TimeSpan.FromDays(7);

    /// <summary>What to tell an operator at a time; null while there is nothing to tell.</summary>
    public string? NoticeAt(DateTimeOffset now)
    {
        if (Ends - now > Ahead)
        {
            return null;
        }

        var date = Ends.UtcDateTime.ToString("yyyy-MM-dd HH:mm", CultureInfo.InvariantCulture);
        return Ends > now
            ? $"{Name} ends at {date} UTC, and the API server cannot be asked from then on: {Remedy}"
            : $"{Name} has ended at {date} UTC, so that the API server cannot be asked: {Remedy}";
    }
}
