using System.Security.Cryptography;
using EdgeMesh.Tunnel.Identity;
using Xunit;

namespace EdgeMesh.Tests.Tunnel;

public sealed class PresharedKeysTests : IDisposable
{
    private const string Other = "Zk3Wv8Qe5Rt1Yb7Un2Im6Op0As4Df9Gh3Jk7Lx5Cv1Bn=";

    private readonly string _path = Path.GetTempFileName();

    [Fact]
    public void AnIdentityFollowsFromTheKeyAndTheNameAlone()
    {
        // Written down once: a change of the derivation would part a mesh in two.
        using var pair = MeshLab.Keys().DeriveOwn("edge-1");
        Assert.Equal(pair.PeerId, MeshLab.Keys().PeersNamed("edge-1")[0]);
        Assert.Equal("12D3KooWE7cSKi1m7EU6e9t2pz4C2TtwsrqmhxBbooj99TnnqLTb", pair.PeerId.ToString());
        Assert.NotEqual(pair.PeerId, MeshLab.Keys().PeersNamed("edge-2")[0]);
        Assert.NotEqual(pair.PeerId, MeshLab.Keys(Other).PeersNamed("edge-1")[0]);
        Assert.Equal([MeshLab.Keys(Other).PeersNamed("edge-1")[0], pair.PeerId], MeshLab.Keys(Other, MeshLab.KeyText).PeersNamed("edge-1"));
    }

    [Theory]
    [InlineData(UnixFileMode.UserRead, true)]
    [InlineData(UnixFileMode.UserRead | UnixFileMode.UserWrite, true)]
    [InlineData(UnixFileMode.UserRead | UnixFileMode.GroupRead, false)]
    [InlineData(UnixFileMode.UserRead | UnixFileMode.OtherRead, false)]
    [InlineData(UnixFileMode.UserRead | UnixFileMode.UserExecute, false)]
    public void AFileThatOthersCouldReadIsNotUsed(UnixFileMode mode, bool good)
    {
        File.WriteAllText(_path, MeshLab.KeyText + "\n");
        File.SetUnixFileMode(_path, mode);
        if (good)
        {
            Assert.Equal(1, PresharedKeys.Read(_path).Count);
            return;
        }

        var refused = Assert.Throws<PresharedKeyException>(() => PresharedKeys.Read(_path));
        Assert.Contains("chmod 600", refused.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void AFileReachedOverALinkIsJudgedByItself()
    {
        File.WriteAllText(_path, $"# rolled out in May\n{MeshLab.KeyText}\n\n{Other}\n");
        File.SetUnixFileMode(_path, UnixFileMode.UserRead);
        var link = _path + ".link";
        File.CreateSymbolicLink(link, _path);
        try
        {
            Assert.Equal(2, PresharedKeys.Read(link).Count);
        }
        finally
        {
            File.Delete(link);
        }
    }

    [Theory]
    [InlineData("")]
    [InlineData("# nothing")]
    [InlineData("password")]
    [InlineData("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa")]
    [InlineData("abababababababababababababababababababababababab")]
    [InlineData("12345678901234567890")]
    public void AKeyThatCouldBeGuessedIsNotUsed(string text)
    {
        var refused = Assert.Throws<PresharedKeyException>(() => PresharedKeys.Parse(text, "The file"));
        Assert.True(text.Length < 8 || !refused.Message.Contains(text, StringComparison.Ordinal));
    }

    [Fact]
    public void ThreeKeysAreOneTooMany() =>
        Assert.Throws<PresharedKeyException>(() => PresharedKeys.Parse($"{MeshLab.KeyText}\n{Other}\n{Other}x", "The file"));

    [Fact]
    public void EveryKeyThatOpensslMakesIsGoodEnough()
    {
        for (var i = 0; i < 200; i++)
        {
            Assert.Equal(1, PresharedKeys.Parse(Convert.ToBase64String(RandomNumberGenerator.GetBytes(32)), "base64").Count);
            Assert.Equal(1, PresharedKeys.Parse(Convert.ToHexString(RandomNumberGenerator.GetBytes(32)), "hex").Count);
        }
    }

    [Theory]
    [InlineData("node-1", true)]
    [InlineData("a.b.c", true)]
    [InlineData("", false)]
    [InlineData("Node", false)]
    [InlineData("node 1", false)]
    [InlineData("node/1", false)]
    public void ANodeNameIsWhatTheApiAllows(string name, bool good) => Assert.Equal(good, PresharedKeys.IsNodeName(name));

    public void Dispose() => File.Delete(_path);
}
