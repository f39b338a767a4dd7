namespace EdgeMesh.Agent.Hosting.Handover;

/// <summary>
/// What two agents say to each other on the instance socket, one word per line.
/// <code>
///   old                                              new
///   who it is, for people
///   handover 1                                       (a visitor that only asks goes here)
///                                                    freeze      I have facts, and am about to write rules
///   frozen    my guard and reconciler rest
///                                                    release     I listen, and my rules are in force
///   released  my claim and admin address are free
///                                                    standing    both are mine
///   closed    my listeners are closed
///   (drains, ends)                                   (keeps the line open)
/// </code>
/// If the line breaks before <c>standing</c>, the old one takes back what it gave and goes on; if it breaks at any time, the
/// new one goes on. A release that speaks differently changes the number in the second line.
/// </summary>
internal static class HandoverWords
{
    public const string Version = "handover 1";
    public const string Freeze = "freeze";
    public const string Frozen = "frozen";
    public const string Release = "release";
    public const string Released = "released";
    public const string Standing = "standing";
    public const string Closed = "closed";

    /// <summary>Starts a line that gives the reason for people.</summary>
    public const string Refused = "refused ";
}
