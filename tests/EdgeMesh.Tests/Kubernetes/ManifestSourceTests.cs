using EdgeMesh.Kubernetes;
using EdgeMesh.Kubernetes.Api;
using EdgeMesh.Kubernetes.Manifests;
using Xunit;

namespace EdgeMesh.Tests.Kubernetes;

public sealed class ManifestSourceTests : IDisposable
{
    private const string Web = "apiVersion: v1\nkind: Service\nmetadata: {name: web}\nspec: {clusterIP: 10.96.0.1, ports: [{port: 80}]}\n";
    private const string Api = "apiVersion: v1\nkind: Service\nmetadata:\n  name: api\n  labels: {service.edgemesh.kubeedge.io/service-proxy-name: ''}\nspec:\n  clusterIP: 10.96.0.2\n  ports:\n  - port: 80\n";

    private readonly TemporaryFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    [Fact]
    public void SeveralDocumentsListsAndJsonAreRead()
    {
        var file = ManifestFile.Parse("f.yaml", $"# head\n---\n{Web}--- # next\n{Api}---\napiVersion: v1\nkind: List\nitems:\n- {{apiVersion: v1, kind: Node, metadata: {{name: n1}}}}\n- {{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, metadata: {{name: web-1, namespace: x}}, addressType: IPv4, endpoints: [{{addresses: [10.0.0.1]}}]}}\n---\napiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: d}}\n...\n");
        Assert.Empty(file.Faults);
        Assert.Equal(["default/web", "default/api", "/n1", "x/web-1"], file.Objects.Select(o => o.Value.Key.ToString()));
        Assert.Equal(["apps/v1 Deployment"], file.IgnoredKinds);
        Assert.Equal([3L, 8L], file.Objects.Take(2).Select(o => o.Line));
        var json = ManifestFile.Parse("f.json", "\t" + Sample.Service("j") + "\n");
        Assert.Single(json.Objects);
        var list = ManifestFile.Parse("l.json", "{\n\t\"kind\": \"ServiceList\", \"apiVersion\": \"v1\",\n\t\"items\": [" + Sample.Service("j") + "]\n}");
        Assert.Empty(list.Faults);
        Assert.Single(list.Objects);
    }

    [Theory]
    [InlineData("apiVersion: v1\nkind: Service\nmetadata: {name: bad}\nspec:\n  ports:\n  - port: http\n", 12, "default/bad has a value of the wrong type")]
    [InlineData("apiVersion: v1\nkind: Service\nmetadata: {name: bad}\nspec:\n  ports:\n  - port: 70000\n", 12, "impossible port 70000")]
    [InlineData("apiVersion: v1\nkind: Service\nmetadata: {name: bad}\nspec: {clusterIP: 10.0.0.300}\n", 10, "not an IP address")]
    [InlineData("apiVersion: v1\nkind: Service\nmetadata: {name: bad\nspec: x\n", 10, "is not YAML")]
    [InlineData("kind: Service\nkind: Service\n", 8, "twice")]
    [InlineData("just text\n", 7, "not a Kubernetes object")]
    public void ABadDocumentIsNamedByFileAndLineAndTheGoodOnesStay(string bad, int line, string message)
    {
        // Lines: Web is 1 to 4, '---' is 5; a comment makes the bad document begin at 7.
        var file = ManifestFile.Parse("f.yaml", $"{Web}---\n# bad\n{bad}---\n{Api}");
        Assert.Equal(["default/web", "default/api"], file.Objects.Select(o => o.Value.Key.ToString()));
        var fault = Assert.Single(file.Faults);
        // Where the text is not YAML, the parser may notice one line late or early.
        Assert.InRange(fault.Line, message == "is not YAML" ? line - 1 : line, line);
        Assert.Contains(message, fault.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task ChangesAreSeenAndTheLastGoodVersionOfABadDocumentStaysInForce()
    {
        _folder.Write("a.yaml", Web + "---\n" + Api);
        await using var running = Run();
        var first = await running.SeesAsync(f => f.Services.Count == 2);
        _folder.Write("a.yaml", Web.Replace("port: 80", "port: oops", StringComparison.Ordinal) + "---\n" + Api.Replace("10.96.0.2", "10.96.0.3", StringComparison.Ordinal));
        var second = await running.SeesAsync(f => f.Services[new("default", "api")].Spec.ClusterIP == "10.96.0.3");
        Assert.Same(first.Services[new("default", "web")], second.Services[new("default", "web")]);
        await running.FaultAsync("files", "a.yaml:4 Service default/web has a value of the wrong type");
        _folder.Write("a.yaml", "{{{{ broken");
        await running.FaultAsync("files", "not YAML");
        Assert.Equal(2, running.Source.Current!.Services.Count);
        _folder.Write("a.yaml", Web);
        await running.SeesAsync(f => f.Services.Count == 1);
        Assert.Null(running.Kind("files").Fault);
        File.Delete(Path.Combine(_folder.Path, "a.yaml"));
        await running.SeesAsync(f => f.Services.Count == 0);
    }

    [Fact]
    public async Task AFileThatIsCutToBeWrittenAnewTakesNothingAwayMeanwhile()
    {
        var path = _folder.Write("a.yaml", Web + "---\n" + Api);
        await using var running = Run();
        await running.SeesAsync(f => f.Services.Count == 2);
        for (var i = 0; i < 20; i++)
        {
            // As `cat >` does: the file is empty for as long as the writer takes.
            using (var file = File.Create(path))
            {
                var before = running.Kind("files").Lists;
                await RunningSource.UntilAsync(() => running.Kind("files").Lists > before, "a scan of the empty file");
                Assert.Equal(2, running.Source.Current!.Services.Count);
                file.Write(System.Text.Encoding.UTF8.GetBytes(Web + "---\n" + Api.Replace("10.96.0.2", $"10.96.1.{i}", StringComparison.Ordinal)));
            }

            await running.SeesAsync(f => f.Services[new("default", "api")].Spec.ClusterIP == $"10.96.1.{i}");
        }

        _folder.Write("a.yaml", "");
        await running.SeesAsync(f => f.Services.IsEmpty);
    }

    [Fact]
    public async Task AnObjectInTwoFilesIsNamedAndTheFirstFileCounts()
    {
        _folder.Write("a.yaml", Web);
        _folder.Write("b.yml", Web.Replace("10.96.0.1", "10.96.0.9", StringComparison.Ordinal));
        await using var running = Run();
        var facts = await running.SeesAsync(f => f.Services.Count == 1);
        Assert.Equal("10.96.0.1", facts.Services[new("default", "web")].Spec.ClusterIP);
        await running.FaultAsync("files", "also stands in");
    }

    [Fact]
    public async Task AMissingFolderIsAFaultUntilItExists()
    {
        var path = Path.Combine(_folder.Path, "later");
        await using var running = Run(path);
        await running.FaultAsync("files", "does not exist: create it");
        Assert.Null(running.Source.Current);
        Directory.CreateDirectory(path);
        File.WriteAllText(Path.Combine(path, "a.yaml"), Web);
        await running.SeesAsync(f => f.Services.Count == 1);
    }

    [Fact]
    public async Task TheSwapOfAConfigMapVolumeIsSeen()
    {
        var one = Directory.CreateDirectory(Path.Combine(_folder.Path, "..1")).FullName;
        var two = Directory.CreateDirectory(Path.Combine(_folder.Path, "..2")).FullName;
        File.WriteAllText(Path.Combine(one, "a.yaml"), Web);
        File.WriteAllText(Path.Combine(two, "a.yaml"), Api);
        var data = Path.Combine(_folder.Path, "..data");
        File.CreateSymbolicLink(data, one);
        File.CreateSymbolicLink(Path.Combine(_folder.Path, "a.yaml"), Path.Combine("..data", "a.yaml"));
        await using var running = Run();
        await running.SeesAsync(f => f.Services.ContainsKey(new ObjectName("default", "web")));
        File.Delete(data);
        File.CreateSymbolicLink(data, two);
        await running.SeesAsync(f => f.Services.ContainsKey(new ObjectName("default", "api")) && f.Services.Count == 1);
    }

    [Fact]
    public async Task TheNodesLabelsComeFromItsManifest()
    {
        _folder.Write("n.yaml", "apiVersion: v1\nkind: Node\nmetadata: {name: n1, labels: {topology.kubernetes.io/zone: z1}}\n");
        await using var running = Run();
        var facts = await running.SeesAsync(f => f.NodeLabels.Count > 0);
        Assert.Equal("z1", facts.NodeLabels["topology.kubernetes.io/zone"]);
    }

    private RunningSource Run(string? path = null) => new(new ManifestSource(path ?? _folder.Path, "n1", TimeSpan.FromMilliseconds(200), TimeProvider.System, new LogLines()));
}
