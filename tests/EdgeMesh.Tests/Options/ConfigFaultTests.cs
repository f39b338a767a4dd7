using System.Text;
using EdgeMesh.Agent.Options;
using Xunit;

namespace EdgeMesh.Tests.Options;

public sealed class ConfigFaultTests
{
    [Theory]
    [InlineData("listenPort: 0", 4, 17, "0 is out of range")]
    [InlineData("listenPort: 65536", 4, 17, "from 1 to 65535")]
    [InlineData("listenPort: \"80\"", 4, 17, "take the quotes away")]
    [InlineData("listenPort: 1.5", 4, 17, "whole number")]
    [InlineData("listenPort: 99999999999999999999", 4, 17, "whole number")]
    [InlineData("listenPort: [1]", 4, 17, "a list")]
    [InlineData("drainTimeout: 25", 4, 19, "say the unit: 25s")]
    [InlineData("drainTimeout: 1h", 4, 19, "from 0s to 10m")]
    [InlineData("drainTimeout: soon", 4, 19, "like 25s")]
    [InlineData("chainPrefix: edgemesh", 4, 18, "choose one of EDGEMESH, KUBE; nearest is EDGEMESH")]
    [InlineData("backend: ipvs", 4, 14, "choose one of auto, iptables")]
    [InlineData("serviceFilterMode: FilterIfLabelDoesNotExist", 4, 24, "nearest is FilterIfLabelDoesNotExists")]
    [InlineData("excludeServices: default/kubernetes", 4, 22, "wants a list")]
    [InlineData("excludeServices: [kubernetes]", 4, 23, "NAMESPACE/NAME")]
    [InlineData("excludeServices: [Default/kubernetes]", 4, 23, "NAMESPACE/NAME")]
    [InlineData("excludeServices: [a/b, a/b]", 4, 28, "twice")]
    [InlineData("limits: 5", 4, 13, "is a section")]
    [InlineData("limits: {maxUdpFlows: 0}", 4, 27, "from 1 to")]
    [InlineData("servicefiltermod: x", 4, 5, "did you mean modules.edgeProxy.serviceFilterMode?")]
    [InlineData("stateDir: /x", 4, 5, "did you mean commonConfig.stateDir?")]
    [InlineData("zzzzzzzzzzzz: 1", 4, 5, "known here are enable, serviceFilterMode")]
    [InlineData("enable: false", 4, 5, "a second time")]
    public void AFaultTellsItsPlaceAndWhatToDo(string line, int row, int column, string says)
    {
        var fault = ConfigSample.OneFault(ConfigSample.Proxy(line));
        Assert.Equal((row, column), (fault.Line, fault.Column));
        Assert.Contains(says, fault.ToString(), StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("commonConfig: {bridgeDeviceIP: 169.254.96}", "wants an IP address")]
    [InlineData("commonConfig: {bridgeDeviceIP: 224.0.0.1}", "cannot be the address of a device")]
    [InlineData("commonConfig: {bridgeDeviceIP: \"::1\"}", "cannot be the address of a device")]
    [InlineData("commonConfig: {bridgeDeviceName: a-name-that-is-too-long}", "cannot name a network device")]
    [InlineData("commonConfig: {bridgeDeviceName: \"\"}", "cannot name a network device")]
    [InlineData("commonConfig: {adminAddress: \":9999\"}", "like 127.0.0.1:9999")]
    [InlineData("commonConfig: {adminAddress: 127.0.0.1}", "like 127.0.0.1:9999")]
    [InlineData("commonConfig: {adminAddress: \"127.0.0.1:0\"}", "from 1 to 65535")]
    [InlineData("commonConfig: {adminAddress: \"0.0.0.0:20007\"}", "is also modules.edgeProxy.listenPort")]
    [InlineData("commonConfig: {stateDir: state}", "begin it with /")]
    [InlineData("commonConfig: {logLevel: trace}", "choose one of debug, information, warning, error")]
    [InlineData("kubeAPIConfig: {master: \"10.0.0.1:6443\"}", "like https://10.0.0.1:6443")]
    [InlineData("kubeAPIConfig: {metaServer: {server: unix:///x}}", "http or https URL")]
    [InlineData("kubeAPIConfig: {qps: 0}", "from 1 to")]
    [InlineData("apiVersion: v1", "write agent.edgemesh.config.kubeedge.io/v1alpha1")]
    [InlineData("kind: EdgeMeshGateway", "reads kind EdgeMeshAgent")]
    [InlineData("module: {}", "did you mean modules?")]
    [InlineData("- a", "is a mapping, and this is a list")]
    [InlineData("hello", "is a mapping, and this is 'hello'")]
    [InlineData("", "the file is empty")]
    [InlineData("# nothing\n---\n", "the file is empty")]
    [InlineData("a: b: c", "not YAML")]
    [InlineData("modules: [", "not YAML")]
    [InlineData("kind: EdgeMeshAgent\nmodules: {\nedgeProxy: {enable: true}\n}\n", "agent.yaml:2")]
    [InlineData("modules: *nobody", "names no anchor")]
    [InlineData("modules: &a {edgeProxy: *a}", "names no anchor")]
    [InlineData("modules:\n\tedgeProxy: {}", "a tab indents this line")]
    [InlineData("modules: {edgeTunnel: {relayNodes: [{nodename: a, port: 1}]}}", "a relay node has no key 'port'")]
    [InlineData("modules: {edgeTunnel: {transport: udp}}", "choose one of tcp, ws, quic")]
    [InlineData("modules: {edgeTunnel: {enable: true, transport: ws}}", "ws is not built; this release carries the tunnel over TCP only; write tcp")]
    [InlineData("modules: {edgeTunnel: {enable: true, identity: edgemesh}}", "agent.yaml:1:38: modules.edgeTunnel.identity: edgemesh is not built yet; write psk")]
    [InlineData("modules: {edgeTunnel: {enable: true, listenPort: 20007}}", "port 20007 is also modules.edgeProxy.listenPort")]
    [InlineData("modules: {edgeTunnel: {addressRanges: [0.0.0.0/0]}}", "'0.0.0.0/0' is not an address range")]
    [InlineData("modules: {edgeTunnel: {addressRanges: [pods]}}", "write it like 10.244.3.0/24")]
    public void OneFaultIsOneMessage(string text, string says) =>
        Assert.Contains(says, ConfigSample.OneFault(text).ToString(), StringComparison.Ordinal);

    [Fact]
    public void AllFaultsAreToldAtOnceInTheOrderOfTheFile()
    {
        var loaded = ConfigSample.Read("""
            kind: Agent
            commonConfig:
              adminAdress: 127.0.0.1:9999
              bridgeDeviceIP: 300.1.1.1
            modules:
              edgeProxy:
                enable: "true"
                listenPort: 70000
                drainTimeout: 25
            """);
        Assert.Equal(
            [(1, 7), (3, 3), (4, 19), (7, 13), (8, 17), (9, 19)],
            loaded.Faults.Select(f => (f.Line, f.Column)));
        Assert.Null(loaded.Options);
        Assert.Equal("agent.yaml:3:3: commonConfig.adminAdress: no such key; did you mean commonConfig.adminAddress?", loaded.Faults[1].ToString());
    }

    [Fact]
    public void ThousandsOfFaultsAreBounded()
    {
        var text = new StringBuilder("modules:\n");
        for (var i = 0; i < 5000; i++)
            text.Append(System.Globalization.CultureInfo.InvariantCulture, $"  wrong{i}: 1\n");
        var faults = ConfigSample.Read(text.ToString()).Faults;
        Assert.Equal(FindingList.Limit + 1, faults.Length);
        Assert.Contains("4900 more faults", faults[^1].ToString() + faults[0], StringComparison.Ordinal);
    }

    [Fact]
    public void AliasesThatMultiplyAreRefused()
    {
        var text = new StringBuilder("a0: &a0 [x, x, x, x, x, x, x, x, x]\n");
        for (var i = 1; i < 30; i++)
            text.Append(System.Globalization.CultureInfo.InvariantCulture, $"a{i}: &a{i} [{string.Join(", ", Enumerable.Repeat($"*a{i - 1}", 9))}]\n");
        Assert.Contains("more than 50000 values", ConfigSample.OneFault(text.ToString()).What, StringComparison.Ordinal);
    }

    [Fact]
    public void MergedMappingsThatMultiplyAreRefused()
    {
        var entries = string.Join(", ", Enumerable.Range(0, 1000).Select(i => $"k{i}: 1"));
        var text = new StringBuilder($"base: &m {{{entries}}}\nmodules:\n");
        text.Append("  <<: [").AppendJoin(", ", Enumerable.Repeat("*m", 100)).Append("]\n");
        Assert.Contains("more than 50000 values", ConfigSample.OneFault(text.ToString()).What, StringComparison.Ordinal);
    }

    [Fact]
    public void DeepNestingIsRefused() =>
        Assert.Contains("nested deeper", ConfigSample.OneFault("a: " + new string('[', 5000) + new string(']', 5000)).What, StringComparison.Ordinal);

    [Fact]
    public void NoCutOfAFileMakesTheReaderThrow()
    {
        var whole = Encoding.UTF8.GetBytes(ConfigText.Default());
        for (var length = 0; length < whole.Length; length += 61)
        {
            var loaded = ConfigFile.Parse("cut.yaml", whole[..length], ConfigSample.Cloud, new ConfigOverrides());
            Assert.True(loaded.Options is null == loaded.Faults.Length > 0);
        }
    }

    [Fact]
    public void NoBytesMakeTheReaderThrow()
    {
        var random = new Random(7);
        var alphabet = "abc:-[]{}&*!|>'\"%@`#,?\n\t  <~0.\u00e9"u8.ToArray();
        for (var round = 0; round < 3000; round++)
        {
            var bytes = new byte[random.Next(60)];
            for (var i = 0; i < bytes.Length; i++)
                bytes[i] = round % 4 == 0 ? (byte)random.Next(256) : alphabet[random.Next(alphabet.Length)];
            var loaded = ConfigFile.Parse("random.yaml", bytes, ConfigSample.Cloud, new ConfigOverrides());
            Assert.True(loaded.Options is null == loaded.Faults.Length > 0);
        }
    }

    [Fact]
    public void AFileThatIsNotUtf8IsRefused() =>
        Assert.Contains("not UTF-8", Assert.Single(ConfigFile.Parse("x", [0x61, 0xff, 0xfe], ConfigSample.Cloud, new ConfigOverrides()).Faults).What, StringComparison.Ordinal);

    [Fact]
    public void FilesThatCannotBeReadSaySo()
    {
        using var folder = new TemporaryFolder();
        var big = folder.Write("big.yaml", new string('#', ConfigFile.MaxBytes + 1));
        Assert.Contains("larger than 1 MiB", Fault(big), StringComparison.Ordinal);
        Assert.Contains("there is no such file; write one: edgemesh-agent config minimal > ", Fault(folder.Path + "/none.yaml"), StringComparison.Ordinal);
        Assert.Contains("this is a folder", Fault(folder.Path), StringComparison.Ordinal);

        static string Fault(string path) => Assert.Single(ConfigFile.Load(path, ConfigSample.Cloud, new ConfigOverrides()).Faults).ToString();
    }

    [Theory]
    [InlineData(0)]
    [InlineData(4_095)]
    [InlineData(4_096)]
    [InlineData(4_097)]
    [InlineData(100_000)]
    [InlineData(ConfigFile.MaxBytes)]
    public void AFileOfAnyAllowedLengthIsReadWhole(int length)
    {
        using var folder = new TemporaryFolder();
        var content = new byte[length];
        new Random(length).NextBytes(content);
        var path = folder.Path + "/file.yaml";
        File.WriteAllBytes(path, content);
        Assert.Equal(content, ConfigFile.TryReadBytes(path, new FindingList(path)));
    }

    [Fact]
    public void LookingAtASmallFileEverySecondIsNoWorkForTheCollector()
    {
        using var folder = new TemporaryFolder();
        var path = folder.Write("small.yaml", ConfigSample.Proxy("dataPath: auto"));
        Assert.NotNull(ConfigFile.TryReadBytes(path, new FindingList(path)));
        var before = GC.GetAllocatedBytesForCurrentThread();
        Assert.NotNull(ConfigFile.TryReadBytes(path, new FindingList(path)));
        Assert.InRange(GC.GetAllocatedBytesForCurrentThread() - before, 0, 32 * 1024);
    }
}
