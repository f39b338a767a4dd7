using EdgeMesh.Netfilter.Iptables;
using Xunit;

namespace EdgeMesh.Tests.Netfilter.Iptables;

public sealed class RuleTests
{
    [Theory]
    [InlineData("-p tcp -m comment --comment \"demo/web:http\" -j ACCEPT", "-p tcp -m comment --comment \"demo/web:http\" -j ACCEPT")]
    [InlineData("-m comment --comment demo/web -j ACCEPT", "-m comment --comment \"demo/web\" -j ACCEPT")]
    [InlineData("-m comment --comment \"plain\" -j ACCEPT", "-m comment --comment plain -j ACCEPT")]
    [InlineData("[12:345] -p udp   -j DROP", "-p udp -j DROP")]
    [InlineData("-p udp -c 12 345 -j DROP", "-p udp -j DROP")]
    [InlineData("-m comment --comment \"a\\\"b\\\\c\\'d\" -g X", "-m comment --comment \"a\\\"b\\\\c\\'d\" -g X")]
    public void AnyQuotingIsReadAndOneIsWritten(string read, string written) => Assert.Equal(written, Rule.Parse(read).Text);

    [Fact]
    public void RandomTextNeitherThrowsNorChangesOnTheSecondReading()
    {
        var random = new Random(1);
        const string alphabet = "ab-j \"\\'[]:/0\t";
        for (var i = 0; i < 5000; i++)
        {
            var text = new string([.. Enumerable.Range(0, random.Next(40)).Select(_ => alphabet[random.Next(alphabet.Length)])]);
            var once = Rule.Parse("-p tcp " + text);
            Assert.Equal(once.Arguments, new Rule(once.Text).Arguments);
            Assert.NotNull(SavedTables.Parse(text, "nat"));
        }
    }

    [Fact]
    public void ACommentCannotEndItsLine() => Assert.Equal("\"a?-F?b\"", Rule.Comment("a\n-F\nb"));

    [Fact]
    public void OnlyTheTargetCountsAsLeadingToAChain()
    {
        Assert.True(new Rule("-p tcp -j KUBE-SERVICES").LeadsTo("KUBE-SERVICES"));
        Assert.True(new Rule("-g KUBE-SERVICES").LeadsTo("KUBE-SERVICES"));
        Assert.False(new Rule("-j MY-KUBE-SERVICES").LeadsTo("KUBE-SERVICES"));
        Assert.False(new Rule("-m comment --comment KUBE-SERVICES").LeadsTo("KUBE-SERVICES"));
    }
}
