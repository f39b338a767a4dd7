namespace EdgeMesh.Agent.Hosting.Handover;

/// <summary>
/// What two agents say to each other on the instance socket, one word per line, once the new one has knocked
/// (<see cref="InstanceSocket"/>).
/// <code>
///   old                                              new
///   who it is, for people
///   handover 3 and the port of its listeners          (a visitor that only asks goes here)
///                                                    freeze      I have facts, and am about to write rules
///   sockets   here are some of my listeners; we both have them, and I go on accepting. As often as is needed
///   frozen    my guard and reconciler rest
///                                                    release     my rules are in force
///   released  my claim and admin address are free
///                                                    standing    both are mine, and I accept
///   closed    I accept no more
///   (drains, ends)                                   (keeps the line open)
/// </code>
/// The old one ends its service for the word <c>standing</c> and for nothing else: whatever else comes, or does not come, it
/// takes back what it gave, says <c>refused</c>, and goes on. If the line breaks, the old one has ended, and the new one goes
/// on. A release that speaks differently changes the number in the second line.
/// </summary>
internal static class HandoverWords
{
    public const string Version = "handover 3";

    /// <summary>Of release 0.1.0: the same words, without a knock.</summary>
    public const string FirstVersion = "handover 1";
    public const string Freeze = "freeze";
    public const string Sockets = "sockets";
    public const string Frozen = "frozen";
    public const string Release = "release";
    public const string Released = "released";
    public const string Standing = "standing";
    public const string Closed = "closed";

    /// <summary>Starts a line that gives the reason for people.</summary>
    public const string Refused = "refused ";
}
