using System.Text;
using BenchmarkDotNet.Attributes;
using EdgeMesh.Kubernetes.Api;
using EdgeMesh.Kubernetes.Manifests;
using EdgeMesh.Kubernetes.Watching;

namespace EdgeMesh.Bench;

/// <summary>From the bytes of an API server or a manifest to objects. The slice has 100 endpoints, as large ones do.</summary>
public class ParserBenchmarks
{
    private const int Items = 500;

    private byte[] _line = [];
    private byte[] _list = [];
    private string _manifest = "";

    [GlobalSetup]
    public void Build()
    {
        var slice = Slice("web-x7k2p");
        _line = Encoding.UTF8.GetBytes($$"""{"type":"MODIFIED","object":{{slice}}}""");
        _list = Encoding.UTF8.GetBytes($$"""{"kind":"EndpointSliceList","metadata":{"resourceVersion":"7"},"items":[{{string.Join(',', Enumerable.Range(0, Items).Select(i => Slice($"web-{i}")))}}]}""");
        _manifest = string.Join("---\n", Enumerable.Range(0, Items).Select(i => $$"""
            apiVersion: v1
            kind: Service
            metadata:
              name: web-{{i}}
              namespace: demo
              labels: {app: web}
            spec:
              clusterIP: 10.96.{{i / 250}}.{{1 + (i % 250)}}
              ports:
              - name: http
                port: 80
                targetPort: 8080

            """));
    }

    [Benchmark]
    public object WatchLineWithASlice()
    {
        var line = WatchLine.Parse(_line);
        return Kinds.EndpointSlices.Read(_line.AsSpan()[line.Object]).Value!;
    }

    [Benchmark]
    public int ListOfFiveHundredSlices()
    {
        var read = 0;
        var splitter = new ListSplitter(ObjectReader.LargestObject, (item, _) =>
        {
            if (Kinds.EndpointSlices.Read(item).Value is not null)
                read++;
        });
        splitter.Feed(_list);
        splitter.Finish();
        return read == Items ? read : throw new InvalidOperationException($"{read} of {Items} were read.");
    }

    [Benchmark]
    public int ManifestOfFiveHundredServices()
    {
        var objects = ManifestFile.Parse("services.yaml", _manifest).Objects.Length;
        return objects == Items ? objects : throw new InvalidOperationException($"{objects} of {Items} were read.");
    }

    private static string Slice(string name)
    {
        var endpoints = Enumerable.Range(1, 100).Select(i => $$$"""{"addresses":["10.244.0.{{{i}}}"],"conditions":{"ready":true,"serving":true,"terminating":false},"nodeName":"node-{{{i % 7}}}","targetRef":{"kind":"Pod","name":"web-{{{i}}}","namespace":"demo"}}""");
        return $$$"""{"apiVersion":"discovery.k8s.io/v1","kind":"EndpointSlice","metadata":{"name":"{{{name}}}","namespace":"demo","resourceVersion":"7","labels":{"kubernetes.io/service-name":"web"}},"addressType":"IPv4","ports":[{"name":"http","port":8080,"protocol":"TCP"}],"endpoints":[{{{string.Join(',', endpoints)}}}]}""";
    }
}
