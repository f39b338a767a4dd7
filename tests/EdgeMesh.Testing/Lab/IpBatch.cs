using System.Text;

namespace EdgeMesh.Testing.Lab;

/// <summary>What <c>ip</c> has to do to build a lab, gathered: a process costs more than all the commands that it is given, so that there is one
/// for the wires and one for each namespace.</summary>
internal sealed class IpBatch(Func<string, string> nameOf)
{
    private readonly List<string> _wires = [];
    private readonly Dictionary<string, List<string>> _inside = new(StringComparer.Ordinal);

    /// <summary>A pair of veth devices, which are there before anything else is done.</summary>
    public void Wire(string role, string device, string otherRole, string otherDevice) =>
        _wires.Add($"link add {device} netns {nameOf(role)} type veth peer name {otherDevice} netns {nameOf(otherRole)}");

    /// <summary>In the order in which they are given for this role.</summary>
    public void In(string role, params IEnumerable<string> commands)
    {
        if (!_inside.TryGetValue(role, out var known))
            _inside.Add(role, known = []);
        known.AddRange(commands);
    }

    public async Task RunAsync()
    {
        if (_wires.Count > 0)
            await RunAsync(null, _wires);
        foreach (var (role, commands) in _inside)
            await RunAsync(nameOf(role), commands);
    }

    /// <summary>One ip process for many commands; it stops at the first that fails and names its line.</summary>
    /// <param name="space">Null: where the tests run.</param>
    public static async Task RunAsync(string? space, IEnumerable<string> commands)
    {
        string[] where = space is null ? [] : ["-n", space];
        var batch = new StringBuilder();
        foreach (var command in commands)
            batch.Append(command).Append('\n');
        var result = await CommandResult.RunAsync("ip", [.. where, "-batch", "-"], batch.ToString());
        if (result.ExitCode != 0)
            throw new InvalidOperationException($"The lab cannot be built: {result.CommandLine} said: {result.Errors}The batch was:\n{batch}");
    }
}
