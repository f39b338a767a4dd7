using System.Security.Cryptography;
using EdgeMesh.Tunnel.Identity;
using Xunit;

namespace EdgeMesh.Tests.Tunnel;

public sealed class PresharedKeysTests : IDisposable
{
    private const string Other = "Zk3Wv8Qe5Rt1Yb7Un2Im6Op0As4Df9Gh3Jk7Lx5Cv1Bn=";

    private readonly string _path = Path.GetTempFileName();
    private readonly List<string> _folders = [];

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
    [InlineData("passwordpasswordpasswordpasswordpasswordpassword")]
    [InlineData("CorrectHorseBatteryStapleAndSomeOtherWordsX=")]
    [InlineData("c0rr3ct-h0rs3-b4tt3ry-st4pl3-4nd-m0r3-w0rds")]
    [InlineData("the quick brown fox jumps over the lazy dog and runs away from it")]
    [InlineData("unser Tunnel ist sehr geheim und niemand kennt ihn")]
    [InlineData("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+/")]
    [InlineData("qwertyuiopasdfghjklzxcvbnm1234567890QWERTYUIOPASDFGHJKLZXCVBNM")]
    [InlineData("zyxwvutsrqponmlkjihgfedcba9876543210zyxwvutsrqponmlkjihgfedcba")]
    [InlineData("Xk3vQ9Xk3vQ9Xk3vQ9Xk3vQ9Xk3vQ9Xk3vQ9Xk3vQ9Xk")]
    [InlineData("0000000000000000000000000000000000000000000000000000000000000000")]
    [InlineData("000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f")]
    [InlineData("deadbeefdeadbeefdeadbeefdeadbeefdeadbeefdeadbeefdeadbeefdeadbeef")]
    [InlineData("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=")]
    [InlineData("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=")]
    [InlineData("cGFzc3dvcmRwYXNzd29yZHBhc3N3b3JkcGFzc3dvcmQ=")]
    [InlineData("bGFiIG1lc2gga2V5IGZvciB0ZXN0cyBvbmx5LCAwMDE=")]
    [InlineData("2a7f6c1e-93b4-4d0c-8f51-0b6e7d9a4c32")]
    [InlineData("tr0ub4dor&3")]
    public void AKeyThatCouldBeGuessedIsNotUsed(string text)
    {
        var refused = Assert.Throws<PresharedKeyException>(() => PresharedKeys.Parse(text, "The file"));
        Assert.True(text.Length < 8 || !refused.Message.Contains(text, StringComparison.Ordinal));
    }

    [Theory]
    [InlineData("JugH9HP1XBouyO5pWGeZa8LtipDURrf17EJvUHcJGuQ=")]
    [InlineData("  JugH9HP1XBouyO5pWGeZa8LtipDURrf17EJvUHcJGuQ\r\n")]
    [InlineData("q1Zt0mXw7Lr4Yc9Vb2Ns6Kd8Hf3Jg5Ta1Pe0Uo7Iz4w=\nJugH9HP1XBouyO5pWGeZa8LtipDURrf17EJvUHcJGuQ=\n")]
    public void TheKeyOfEdgeMeshsDocumentsIsRefusedByName(string text)
    {
        var refused = Assert.Throws<PresharedKeyException>(() => PresharedKeys.Parse(text, "The file"));
        Assert.True(refused.IsGuessable);
        Assert.Contains("printed in EdgeMesh's documents and chart", refused.Message, StringComparison.Ordinal);
        Assert.Contains("openssl rand -base64 32", refused.Message, StringComparison.Ordinal);
        Assert.DoesNotContain("JugH9", refused.Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("4fQ9wX2m Zr7Lk1 Yc8Vb Ns6KdJ HgTa0PeUo5")]
    [InlineData("zqjxkvbwmpfgydhcltrnsxzqvkjwbxmqzpvjfkgqwxhzjvbqkxwz")]
    public void TextThatWasDrawnByLotPasses(string text) => Assert.Equal(1, PresharedKeys.Parse(text, "The file").Count);

    [Theory]
    [InlineData(UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.GroupRead | UnixFileMode.OtherRead, "0644")]
    [InlineData(UnixFileMode.UserRead | UnixFileMode.GroupRead, "0440")]
    public void AVolumeOfKubernetesIsUsedWithANoticeThatNamesTheModeToWrite(UnixFileMode mode, string octal)
    {
        var path = Volume(mode);
        var keys = PresharedKeys.Read(path);
        Assert.Equal(1, keys.Count);
        Assert.Contains($"mode {octal}", keys.Notice, StringComparison.Ordinal);
        Assert.Contains("defaultMode: 0400", keys.Notice, StringComparison.Ordinal);
    }

    [Fact]
    public void AVolumeThatOthersCouldWriteOrWithItsModeSetSaysSo()
    {
        Assert.Null(PresharedKeys.Read(Volume(UnixFileMode.UserRead)).Notice);
        Assert.Throws<PresharedKeyException>(() => PresharedKeys.Read(Volume(UnixFileMode.UserRead | UnixFileMode.OtherRead | UnixFileMode.OtherWrite)));
    }

    /// <summary>As kubelet lays out a ConfigMap or Secret.</summary>
    private string Volume(UnixFileMode mode)
    {
        var folder = _path + ".volume" + (int)mode;
        Directory.CreateDirectory(folder + "/..2026_03_01_12_00_00.123");
        File.WriteAllText(folder + "/..2026_03_01_12_00_00.123/psk", MeshLab.KeyText + "\n");
        File.SetUnixFileMode(folder + "/..2026_03_01_12_00_00.123/psk", mode);
        File.CreateSymbolicLink(folder + "/..data", "..2026_03_01_12_00_00.123");
        File.CreateSymbolicLink(folder + "/psk", "..data/psk");
        _folders.Add(folder);
        return folder + "/psk";
    }

    [Fact]
    public void ThreeKeysAreOneTooMany() =>
        Assert.Throws<PresharedKeyException>(() => PresharedKeys.Parse($"{MeshLab.KeyText}\n{Other}\n{Other}x", "The file"));

    [Fact]
    public void EveryKeyThatOpensslMakesIsGoodEnough()
    {
        for (var i = 0; i < 5000; i++)
        {
            Assert.Equal(1, PresharedKeys.Parse(Convert.ToBase64String(RandomNumberGenerator.GetBytes(32)), "base64").Count);
            Assert.Equal(1, PresharedKeys.Parse(Convert.ToHexStringLower(RandomNumberGenerator.GetBytes(32)), "hex").Count);
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

    public void Dispose()
    {
        File.Delete(_path);
        foreach (var folder in _folders)
            Directory.Delete(folder, recursive: true);
    }
}
