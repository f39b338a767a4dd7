using EdgeMesh.Dns.Messages;
using Xunit;

namespace EdgeMesh.Tests.Dns;

public sealed class WireNameTests
{
    [Theory]
    [InlineData("a.example", "a.example.")]
    [InlineData("a.example.", "a.example.")]
    [InlineData(".", ".")]
    [InlineData("_http._tcp.web", "_http._tcp.web.")]
    public void ANameIsReadBackAsItWasWritten(string text, string expected) => Assert.Equal(expected, WireName.ToText(DnsText.Name(text)));

    [Theory]
    [InlineData("a..b")]
    [InlineData(".a")]
    [InlineData("ü.example")]
    [InlineData("0123456789012345678901234567890123456789012345678901234567890123.example")]
    public void WhatIsNoNameIsNull(string text) => Assert.Null(WireName.FromText(text));

    [Fact]
    public void ANameOf255BytesIsTheLongest()
    {
        var longest = string.Join('.', Enumerable.Repeat(new string('a', 49), 5)) + ".abc";
        Assert.Equal(255, WireName.FromText(longest)!.Length);
        Assert.Null(WireName.FromText(longest + "d"));
    }

    [Fact]
    public void CompressedNamesAreReadWhole()
    {
        byte[] message = [1, (byte)'b', 0, 1, (byte)'a', 0xC0, 0, 99];
        var at = 3;
        Assert.True(WireName.TryRead(message, ref at, new byte[DnsLimits.MaxName], out var length));
        Assert.Equal((7, 5), (at, length));
        Assert.Equal("a.b.", DnsText.NameAt(message, 3));
    }

    /// <summary>Pointers to themselves, to each other, and forward.</summary>
    [Theory]
    [InlineData("C000", 0)]
    [InlineData("C002C000", 0)]
    [InlineData("C002C000", 2)]
    [InlineData("0161C000", 0)]
    [InlineData("C00201610000", 0)]
    public void APointerThatDoesNotLeadBackIsRefused(string bytes, int at) => Assert.Equal("BAD NAME", DnsText.NameAt(Convert.FromHexString(bytes), at));

    [Fact]
    public void AChainOfPointersThatGrowsANameBeyondItsLimitIsRefused()
    {
        // Each part is one label and a pointer to the part before.
        var message = new List<byte> { 0 };
        var before = 0;
        for (var i = 0; i < 200; i++)
        {
            var start = message.Count;
            message.AddRange([1, (byte)'x', (byte)(0xC0 | (before >> 8)), (byte)before]);
            before = start;
        }

        Assert.Equal("BAD NAME", DnsText.NameAt(message.ToArray(), before));
    }

    [Fact]
    public void CaseOfLettersDoesNotCountAndThatOfOtherBytesDoes()
    {
        Assert.True(WireName.EqualsIgnoringCase(DnsText.Name("WEB.Shop"), DnsText.Name("web.sHOP")));
        Assert.Equal(WireName.Hash(DnsText.Name("WEB.Shop"), 5), WireName.Hash(DnsText.Name("web.sHOP"), 5));
        Assert.False(WireName.EqualsIgnoringCase([1, (byte)'@', 0], [1, (byte)'`', 0]));
        Assert.False(WireName.EqualsIgnoringCase([1, (byte)'[', 0], [1, (byte)'{', 0]));
    }

    [Fact]
    public void ANameIsWithinItsDomainAtLabelsOnly()
    {
        Assert.True(WireName.IsWithin(DnsText.Name("a.Example.org"), DnsText.Name("example.ORG")));
        Assert.True(WireName.IsWithin(DnsText.Name("example.org"), DnsText.Name("example.org")));
        Assert.False(WireName.IsWithin(DnsText.Name("anexample.org"), DnsText.Name("example.org")));
        Assert.True(WireName.IsWithin(DnsText.Name("a"), [0]));
    }
}
