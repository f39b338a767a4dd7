using System.Text;
using System.Text.Json;
using System.Text.Json.Serialization.Metadata;
using EdgeMesh.Kubernetes.Api;
using Xunit;

namespace EdgeMesh.Tests.Kubernetes;

/// <summary>Two readers of the same objects: what the quick one reads is what the serializer would have read.</summary>
[Collection("shared strings")]
public sealed class ObjectScanTests
{
    private static readonly string FullService = """
        {"kind":"Service","metadata":{"name":"a","namespace":"demo","uid":"u-1","resourceVersion":"7","generation":3,"labels":{"app":"x","service.edgemesh.kubeedge.io/service-proxy-name":"","service.kubernetes.io/headless":null},"annotations":{"a":{"deep":[1,{"b":[]}]}}},
        "spec":{"type":"LoadBalancer","clusterIP":"10.0.0.1","clusterIPs":["10.0.0.1","fd00::1"],"externalIPs":["1.2.3.4"],"selector":{"app":"x"},"ports":[{"name":"http","protocol":"TCP","appProtocol":"h2c","port":80,"targetPort":"web","nodePort":30080},{"port":53,"protocol":"UDP"}],"sessionAffinity":"None","internalTrafficPolicy":"Cluster","externalTrafficPolicy":"Local"}}
        """;

    private static readonly string FullSlice = """
        {"metadata":{"name":"a-1","namespace":"demo","labels":{"kubernetes.io/service-name":"a"}},"addressType":"IPv4","ports":[{"name":"","port":8080,"protocol":"TCP","appProtocol":null},{"name":"\u0064ns","port":53}],
        "endpoints":[{"addresses":["10.1.0.1"],"conditions":{"ready":true,"serving":null},"nodeName":"n\u00e9","zone":"z","hints":{"forZones":[{"name":"z"}],"forNodes":null},"targetRef":{"name":"p"}},{"addresses":["10.1.0.2","10.1.0.3"],"conditions":{}},{"addresses":[]}]}
        """;

    [Fact]
    public void WhatAnApiServerWritesIsReadWithoutTheSerializer()
    {
        Assert.NotNull(Compare(FullService, ObjectJson.Default.Service));
        Assert.NotNull(Compare(FullSlice, ObjectJson.Default.EndpointSlice));
        Assert.NotNull(Compare(Sample.Service("a"), ObjectJson.Default.Service));
        Assert.NotNull(Compare(Sample.Slice("a", 20), ObjectJson.Default.EndpointSlice));
    }

    [Theory]
    [InlineData("null")]
    [InlineData("[]")]
    [InlineData("{}")]
    [InlineData("""{"metadata":null}""")]
    [InlineData("""{"metadata":{"name":null,"labels":null},"spec":{"ports":null}}""")]
    [InlineData("""{"metadata":{"name":"a"},"spec":{"ports":[null]}}""")]
    [InlineData("""{"metadata":{"name":"a"},"spec":{"ports":[{"port":80.5}]}}""")]
    [InlineData("""{"metadata":{"name":"a"},"spec":{"ports":[{"port":"80"}]}}""")]
    [InlineData("""{"metadata":{"name":"a"},"spec":{"sessionAffinity":"ClientIP","sessionAffinityConfig":{"clientIP":{"timeoutSeconds":7}}}}""")]
    [InlineData("""{"metadata":{"name":"a"},"metadata":{"namespace":"b"},"spec":{}} x""")]
    [InlineData("""{"metadata":{"name":"\ud800"},"spec":{}}""")]
    public void WhatIsOddIsReadAlikeOrLeftToTheSerializer(string json)
    {
        Compare(json, ObjectJson.Default.Service);
        Compare(json, ObjectJson.Default.EndpointSlice);
    }

    [Fact]
    public void ChangedAndCutBytesAreReadAlikeOrLeftToTheSerializer()
    {
        var random = new Random(1);
        foreach (var text in (string[])[FullService, FullSlice])
        {
            var whole = Encoding.UTF8.GetBytes(text);
            for (var i = 0; i < 4_000; i++)
            {
                var bytes = whole.ToArray();
                for (var change = random.Next(3); change >= 0; change--)
                    bytes[random.Next(bytes.Length)] = "\"{}[],:\\ntf01.-\0\xC3"u8[random.Next(17)];
                Compare(bytes, ObjectJson.Default.Service);
                Compare(bytes, ObjectJson.Default.EndpointSlice);
            }

            for (var length = 0; length < whole.Length; length++)
                Assert.Null(Compare(whole[..length], ObjectJson.Default.Service));
        }
    }

    private static T? Compare<T>(string json, JsonTypeInfo<T> type)
        where T : KubernetesObject => Compare(Encoding.UTF8.GetBytes(json), type);

    private static T? Compare<T>(byte[] json, JsonTypeInfo<T> type)
        where T : KubernetesObject
    {
        var read = ObjectScan.Read<T>(json);
        if (read is not null)
            Assert.Equal(JsonSerializer.Serialize(JsonSerializer.Deserialize(json, type)!, type), JsonSerializer.Serialize(read, type));
        return read;
    }
}
