namespace EdgeMesh.Agent.Options;

/// <summary>Which network devices a list of names means, as <c>listenInterfaces</c> and <c>extraFilteredInterfaces</c> have it:
/// names with commas, <c>*</c> at the end of one for any ending.</summary>
internal sealed record DevicePattern(string Wanted, string Unwanted)
{
    /// <summary>Every device, those too that come later.</summary>
    public bool IsEverything => Wanted is "" or "*" && Unwanted.Length == 0;

    public bool Matches(string device) => (Wanted.Length == 0 || Names(Wanted, device)) && !Names(Unwanted, device);

    private static bool Names(string list, string device)
    {
        foreach (var item in list.Split(',', StringSplitOptions.TrimEntries | StringSplitOptions.RemoveEmptyEntries))
        {
            if (item.EndsWith('*') ? device.StartsWith(item[..^1], StringComparison.Ordinal) : item == device)
                return true;
        }

        return false;
    }
}
