using System.Globalization;
using System.Text.RegularExpressions;
using EdgeMesh.Testing;
using EdgeMesh.Testing.Lab;
using Xunit;

namespace EdgeMesh.HostTests.Packaging;

/// <summary>The systemd unit, judged by systemd.</summary>
public sealed partial class UnitTests(ITestOutputHelper output)
{
    [Fact]
    public async Task SystemdSeesLittleExposureInIt()
    {
        var judged = (await CommandResult.RunAsync("systemd-analyze", ["security", "--offline=true", "--no-pager", Repository.PathOf("deploy/systemd/edgemesh-agent.service")])).Succeeded().Output;
        var score = double.Parse(Overall().Match(judged).Groups["score"].Value, CultureInfo.InvariantCulture);
        output.WriteLine($"exposure {score.ToString(CultureInfo.InvariantCulture)} of 10");
        Assert.InRange(score, 0, 3);
    }

    [GeneratedRegex(@"Overall exposure level for \S+: (?<score>[\d.]+)", RegexOptions.ExplicitCapture, 1000)]
    private static partial Regex Overall();
}
