using System.Diagnostics;
using System.Text.RegularExpressions;
using EdgeMesh.Agent.Options;
using EdgeMesh.Kubernetes;
using EdgeMesh.Kubernetes.Access;
using EdgeMesh.Kubernetes.Caching;
using EdgeMesh.Kubernetes.Manifests;
using EdgeMesh.Testing;
using EdgeMesh.Tests.Options;
using EdgeMesh.Tunnel.Identity;
using Xunit;

namespace EdgeMesh.Tests.Kubernetes;

/// <summary>Files that nobody meant: of 3 GB, of one line, of a million brackets, of YAML that multiplies. Each reader says what is wrong, soon and
/// within bounds. Memory is the whole process's, so nothing else may run.</summary>
[Collection(Alone.Name)]
public sealed partial class GiantFileTests(ITestOutputHelper output) : IDisposable
{
    private const int Line = 100 << 20;

    private static readonly TimeSpan Soon = TimeSpan.FromSeconds(20);

    /// <summary>Allocated in all, most of it one thing after the other.</summary>
    private const long Bytes = 1L << 30;

    /// <summary>At one time.</summary>
    private const long Peak = 300L << 20;

    /// <summary>Every way to read a file in the source, apart from <see cref="SmallFile.Read(string, int)"/>, and what bounds it.</summary>
    private static readonly (string File, string Line, string Why)[] Allowed =
    [
        ("EdgeMesh.Kubernetes/SmallFile.cs", "new FileStream(handle", "the one way"),
        ("EdgeMesh.Kubernetes/SmallFile.cs", "using var stream = Open(path)", "the one way"),
        ("EdgeMesh.Kubernetes/Caching/FactsFile.cs", "new FileStream(temporary", "writes"),
        ("EdgeMesh.Kubernetes/Caching/FactsFile.cs", "SmallFile.Open(path)", "its length, and each line's, have a bound"),
        ("EdgeMesh.Kubernetes/Manifests/ManifestFolder.cs", "SmallFile.Open(file)", "looks at the length first, and reads within a bound"),
        ("EdgeMesh/Tunnel/Identity/PresharedKeys.cs", "SmallFile.Open(path)", "reads a bounded number of bytes; wants the mode of the same file"),
        ("EdgeMesh.Agent/Options/ReferencedFiles.cs", "SmallFile.Open(path)", "reads nothing"),
        ("EdgeMesh.Kubernetes/Access/AccessFiles.cs", "ImportFromPem(source.Read())", "no file: text that was read within a bound"),
        ("EdgeMesh.Kubernetes/Access/AccessFiles.cs", "CreateFromPem(certificate.Read(), key.Read())", "no file: text that was read within a bound"),
        ("EdgeMesh.Kubernetes/Access/ExecPlugin.cs", "CreateFromPem(certificate, key)", "no file: what a program said, within a bound"),
        ("EdgeMesh.Netfilter/HostCommands.cs", "File.ReadAllLinesAsync(path", "the kernel's"),
        ("EdgeMesh.Linux/Netlink/ConntrackTimeouts.cs", "File.ReadAllText(Path.Combine(folder, name))", "the kernel's"),
        ("EdgeMesh.Linux/Netlink/ConntrackUsage.cs", "File.ReadAllText(path)", "the kernel's"),
        ("EdgeMesh.Linux/Netlink/LegacyTable.cs", "File.OpenHandle($\"/proc/thread-self", "the kernel's"),
        ("EdgeMesh.Linux/Netlink/ListenDevice.cs", "File.ReadAllText($\"/proc/sys", "the kernel's"),
        ("EdgeMesh.Linux/Netlink/HostReader.cs", "File.ReadAllText(file)", "the kernel's"),
        ("EdgeMesh.Linux/ProcessorQuota.cs", "File.ReadAllLines(path)", "the kernel's"),
        ("EdgeMesh.Linux/UnixListeners.cs", "File.ReadLines(Table)", "the kernel's, line by line"),
        ("EdgeMesh.Linux/Memory/ProgramPages.cs", "File.ReadLines(\"/proc/self/smaps\")", "the kernel's"),
        ("EdgeMesh.Linux/BoundPorts.cs", "File.ReadLines(table.File)", "the kernel's, line by line"),
        ("EdgeMesh.Linux/ProcessRights.cs", "File.ReadLines(folder + \"/status\")", "the kernel's"),
        ("EdgeMesh.Linux/Confinement/ProcessConfinement.cs", "File.ReadAllBytes(\"/proc/self/cmdline\")", "the kernel's"),
        ("EdgeMesh.Linux/XtRecentHeartbeat.cs", "File.OpenHandle(path, FileMode.Open, FileAccess.Write", "writes"),
    ];

    private readonly TemporaryFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    public static TheoryData<string> Readers => [.. All.Keys];

    /// <summary>What each says of a file that is too large.</summary>
    private static Dictionary<string, Func<string, string>> All { get; } = new()
    {
        ["configuration"] = path =>
        {
            var loaded = ConfigFile.Load(path, new AgentEnvironment(_ => null, "node"), new ConfigOverrides());
            return string.Join('\n', loaded.Faults.Take(5));
        },
        ["kubeconfig"] = path => Assert.ThrowsAny<ApiAccessException>(() => KubeConfig.Load(path)).Message,
        ["certificate"] = path => Assert.ThrowsAny<ApiAccessException>(() => new PemSource(path, null, "certificate-authority").Read()).Message,
        ["key of the mesh"] = path => Assert.Throws<PresharedKeyException>(() => PresharedKeys.Read(path)).Message,
        ["manifest"] = path =>
        {
            var folder = new ManifestFolder(Path.GetDirectoryName(path)!, TimeProvider.System);
            folder.Scan(new HashSet<string>());
            return string.Join('\n', folder.Faults.Select(fault => fault.Message));
        },
        ["cached facts"] = path => Assert.Throws<FactsFileException>(() =>
            FactsFile.ReadAsync(path, new ClusterIdentity("s", null, null), CancellationToken.None).GetAwaiter().GetResult()).Message,
    };

    [Theory]
    [MemberData(nameof(Readers))]
    public void AFileOfThreeGigabytesIsNotRead(string reader)
    {
        var path = _folder.Write("a.yaml", "");
        using (var file = File.OpenWrite(path))
            file.SetLength(3L << 30);
        File.SetUnixFileMode(path, UnixFileMode.UserRead | UnixFileMode.UserWrite);
        var message = Within(reader, path);
        Assert.True(message.Contains("larger than", StringComparison.Ordinal) || message.Contains("longer than", StringComparison.Ordinal), message);
    }

    [Theory]
    [MemberData(nameof(Readers))]
    public void ALineOfAHundredMegabytesIsNotRead(string reader) => Within(reader, Written(new string('a', Line)));

    [Theory]
    [MemberData(nameof(Readers))]
    public void YamlOfTwoHundredMegabytesIsNotRead(string reader)
    {
        var path = _folder.Write("a.yaml", "");
        var part = string.Concat(Enumerable.Repeat("- {a: 1, b: [x, y]}\n", 50_000));
        using (var file = new StreamWriter(path))
        {
            for (var written = 0L; written < 200L << 20; written += part.Length)
                file.Write(part);
        }

        File.SetUnixFileMode(path, UnixFileMode.UserRead | UnixFileMode.UserWrite);
        Within(reader, path);
    }

    /// <summary>As large as each reader takes, or a part of that.</summary>
    [Theory]
    [InlineData("brackets")]
    [InlineData("nested lists")]
    [InlineData("nested maps")]
    [InlineData("numbers")]
    [InlineData("aliases")]
    [InlineData("one word")]
    public void WhatAReaderTakesCostsABoundedTimeAndMemoryWhateverItIs(string kind)
    {
        foreach (var (reader, largest) in new[] { ("configuration", 1 << 20), ("kubeconfig", 1 << 20), ("manifest", 12 << 20), ("key of the mesh", 1 << 20), ("cached facts", 3 << 20) })
        {
            var text = kind switch
            {
                "brackets" => new string('[', largest),
                "nested lists" => string.Concat(Enumerable.Repeat("- ", largest / 2)),
                "nested maps" => string.Concat(Enumerable.Range(0, 1_000).Select(depth => new string(' ', depth) + "a:\n")),
                "numbers" => "a: [" + string.Concat(Enumerable.Repeat("1,", (largest / 2) - 4)) + "1]",
                "aliases" => "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n" + string.Concat(Enumerable.Range(1, 30).Select(i => $"a{i}: &a{i} [{string.Join(',', Enumerable.Repeat($"*a{i - 1}", 10))}]\n")),
                _ => new string('w', largest),
            };
            Within(reader, Written(text));
        }
    }

    [Fact]
    public void AFileThatGrowsWhileItIsReadIsBoundedToo()
    {
        var path = _folder.Write("a.yaml", "a: 1\n");
        using var growing = new FileStream(path, FileMode.Append, FileAccess.Write, FileShare.ReadWrite);
        using var file = SmallFile.Open(path)!;
        growing.Write(new byte[10_000]);
        growing.Flush();
        Assert.Equal(101, SmallFile.Read(file, 100).Length);
    }

    [Fact]
    public void AFolderOfManyLargeManifestsIsReadUpToABoundAndTheRestIsNamed()
    {
        _folder.Write("a.yaml", "kind: Service\napiVersion: v1\nmetadata: {name: first, namespace: demo}\n");
        for (var i = 0; i < 6; i++)
            _folder.Write($"m{i}.yaml", "# " + new string('x', 30 << 20));
        _folder.Write("z.yaml", "kind: Service\napiVersion: v1\nmetadata: {name: last, namespace: demo}\n");
        var folder = new ManifestFolder(_folder.Path, TimeProvider.System);
        folder.Scan(new HashSet<string>());
        Assert.Equal("first", Assert.Single(folder.Objects).Value.Key.Name);
        Assert.Contains(folder.Faults, fault => fault.File.EndsWith("z.yaml", StringComparison.Ordinal) && fault.Message.Contains("holds more than 128 MB", StringComparison.Ordinal));

        File.Delete(Path.Combine(_folder.Path, "m0.yaml"));
        File.Delete(Path.Combine(_folder.Path, "m1.yaml"));
        folder.Scan(new HashSet<string>());
        Assert.Equal(2, folder.Objects.Length);
    }

    [Fact]
    public void EveryFileIsReadWithinABound()
    {
        var found = Repository.LinesOfCode(Read()).ToList();
        var unknown = found.Where(f => !Allowed.Any(a => a.File == f.File && f.Line.Contains(a.Line, StringComparison.Ordinal)));
        Assert.Empty(unknown.Select(f => $"{f.File}:{f.Number}: {f.Line} - read it by SmallFile.Read, and add its reader to this class"));
        // A list that speaks of what is gone would let its like in again.
        Assert.Empty(Allowed.Where(a => !found.Any(f => a.File == f.File && f.Line.Contains(a.Line, StringComparison.Ordinal))).Select(a => $"{a.File}: {a.Line} is not there any more"));
    }

    [Theory]
    [InlineData("        var text = File.ReadAllText(path);")]
    [InlineData("        return await File.ReadAllBytesAsync(path, cancellationToken);")]
    [InlineData("        foreach (var line in File.ReadLines(path))")]
    [InlineData("        using var file = File.OpenRead(path);")]
    [InlineData("        using var file = new FileStream(path, FileMode.Open);")]
    [InlineData("        using var reader = new StreamReader(path);")]
    [InlineData("        using var file = SmallFile.Open(path);")]
    [InlineData("        var certificate = X509CertificateLoader.LoadCertificateFromFile(path);")]
    [InlineData("        return X509Certificate2.CreateFromPemFile(certificate, key);")]
    [InlineData("        certificates.ImportFromPemFile(path);")]
    public void EveryWayToReadIsSeen(string line) => Assert.Matches(Read(), line);

    private string Written(string text)
    {
        var path = _folder.Write("a.yaml", text);
        File.SetUnixFileMode(path, UnixFileMode.UserRead | UnixFileMode.UserWrite);
        return path;
    }

    private string Within(string reader, string path)
    {
        var (before, started, live) = (GC.GetTotalAllocatedBytes(precise: true), Stopwatch.GetTimestamp(), GC.GetTotalMemory(forceFullCollection: true));
        var most = 0L;
        using (new Timer(_ => most = Math.Max(most, GC.GetTotalMemory(forceFullCollection: false)), null, 0, 5))
        {
            var message = All[reader](path);
            var (time, bytes) = (Stopwatch.GetElapsedTime(started), GC.GetTotalAllocatedBytes(precise: true) - before);
            output.WriteLine($"{reader}: {time.TotalSeconds:F2} s, {bytes >> 20} MB allocated, {(most - live) >> 20} MB at most at one time: {message[..Math.Min(message.Length, 150)]}");
            Assert.NotEqual("", message);
            Assert.InRange(message.Length, 1, 2_000);
            Assert.InRange(time, TimeSpan.Zero, Soon);
            Assert.InRange(bytes, 0, Bytes);
            Assert.InRange(most - live, long.MinValue, Peak);
            return message;
        }
    }

    [GeneratedRegex(@"\bFile\.(Read|Open)\w*\(|\bnew FileStream\(|\bnew StreamReader\(\w*(path|file)|\bSmallFile\.Open\(|using var stream = Open\(path\)|\w+FromFile\(|FromPem(File)?\(")]
    private static partial Regex Read();
}
