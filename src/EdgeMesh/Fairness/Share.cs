namespace EdgeMesh.Fairness;

/// <summary>A connection or a flow, as one of those that share a limit.</summary>
internal abstract class ShareMember
{
    /// <summary>When bytes last moved, in the loop's milliseconds.</summary>
    public virtual long LastActive { get; set; }

    /// <summary>Its endpoint has not answered yet.</summary>
    public bool IsPending { get; internal set; }

    // Kept by FairShares; null while it is no member.
    internal Share? OfClient { get; set; }

    internal Share? OfService { get; set; }

    internal int PlaceInClient { get; set; }

    internal int PlaceInService { get; set; }
}

/// <summary>What one client address or one service has of the places.</summary>
internal sealed class Share
{
    internal Share(bool isService)
    {
        IsService = isService;
        (Held, Waiting) = (new Standing(this), new Standing(this));
    }

    internal bool IsService { get; }

    internal List<ShareMember> Members { get; } = [];

    internal int Count => Members.Count;

    /// <summary>Of the members, those that are <see cref="ShareMember.IsPending"/>.</summary>
    internal int Pending => Waiting.Count;

    /// <summary>Pipes that its members hold.</summary>
    internal int Pipes { get; set; }

    /// <summary>Where to look next for a member that gives way.</summary>
    internal int Cursor { get; set; }

    // Kept by FairShares: its members, and those of them that are pending.
    internal Standing Held { get; }

    internal Standing Waiting { get; }
}
