using System.Security.Cryptography;
using System.Text;

namespace EdgeMesh.Tests.Fuzzing;

/// <summary>Good input, with much of what a format has in it.</summary>
internal static class FuzzSamples
{
    internal const string Service = """{"apiVersion":"v1","kind":"Service","metadata":{"name":"a","namespace":"demo","uid":"u-1","resourceVersion":"7","labels":{"service.edgemesh.kubeedge.io/service-proxy-name":"","service.kubernetes.io/headless":""},"annotations":{"a":"b"}},"spec":{"type":"LoadBalancer","clusterIP":"10.96.0.1","clusterIPs":["10.96.0.1","fd00::1"],"externalIPs":["1.2.3.4"],"sessionAffinity":"ClientIP","sessionAffinityConfig":{"clientIP":{"timeoutSeconds":7}},"internalTrafficPolicy":"Local","ports":[{"name":"http","port":80,"targetPort":8080,"protocol":"TCP","nodePort":30000}]},"status":{"loadBalancer":{"ingress":[{"ip":"9.9.9.9"}]}}}""";

    internal const string Slice = """{"apiVersion":"discovery.k8s.io/v1","kind":"EndpointSlice","metadata":{"name":"a-1","namespace":"demo","labels":{"kubernetes.io/service-name":"a"}},"addressType":"IPv4","ports":[{"name":"http","port":8080,"protocol":"TCP"}],"endpoints":[{"addresses":["10.244.0.1"],"conditions":{"ready":true,"serving":null,"terminating":false},"nodeName":"edge-1","zone":"z","hints":{"forZones":[{"name":"z"}],"forNodes":null},"targetRef":{"name":"p"}}]}""";

    internal const string Endpoints = """{"apiVersion":"v1","kind":"Endpoints","metadata":{"name":"a","namespace":"demo"},"subsets":[{"addresses":[{"ip":"10.244.0.1","nodeName":"edge-1"}],"notReadyAddresses":[{"ip":"10.244.0.2"}],"ports":[{"name":"http","port":8080,"protocol":"TCP"}]}]}""";

    internal const string Node = """{"apiVersion":"v1","kind":"Node","metadata":{"name":"n","labels":{"topology.kubernetes.io/zone":"z"}}}""";

    internal const string KubeConfig = "apiVersion: v1\nkind: Config\ncurrent-context: c\nclusters:\n- name: k\n  cluster:\n    server: https://1.2.3.4:6443\n    insecure-skip-tls-verify: true\n    certificate-authority-data: YWJj\ncontexts:\n- name: c\n  context: {cluster: k, user: u, namespace: d}\nusers:\n- name: u\n  user:\n    token: abc\n    client-certificate-data: YWJj\n    client-key-data: YWJj\n    exec: {apiVersion: client.authentication.k8s.io/v1, command: x, args: [a], env: [{name: A, value: b}], provideClusterInfo: true}\n";

    internal const string ExecCredential = """{"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential","spec":{"interactive":false},"status":{"expirationTimestamp":"2030-01-01T00:00:00Z","token":"abc","clientCertificateData":"-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----","clientKeyData":"-----BEGIN EC PRIVATE KEY-----\nAA==\n-----END EC PRIVATE KEY-----"}}""";

    internal const string BoundPorts = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n   0: 0100007F:270F 00000000:0000 0A 00000000:00000000 00:00000000 00000000 65534        0 30214 1 0000000000000000 100 0 0 10 0\n   1: 00000000000000000000000000000000:00CF 00000000000000000000000000000000:0000 07 00000000:00000000 00:00000000 00000000   101        0 30301 2 0000000000000000 0\n";

    internal const string Manifest = "apiVersion: v1\nkind: Service\nmetadata:\n  name: web\n  namespace: shop\n  labels: &l {app: web}\nspec:\n  clusterIP: 10.96.0.9\n  ports:\n  - name: http\n    port: 80\n    targetPort: 8080\n---\napiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {name: web-1, namespace: shop, labels: {kubernetes.io/service-name: web}}\naddressType: IPv4\nports: [{name: http, port: 8080}]\nendpoints:\n- addresses: [10.1.1.1]\n  conditions: {ready: yes}\n--- |\n text\n---\nkind: List\nitems:\n- {apiVersion: v1, kind: Node, metadata: {name: n}}\n";

    internal const string Config = "apiVersion: agent.edgemesh.config.kubeedge.io/v1alpha1\nkind: EdgeMeshAgent\nkubeAPIConfig: {master: \"https://10.0.0.1:6443\", qps: 5, metaServer: {server: \"http://127.0.0.1:10550\"}}\ncommonConfig:\n  bridgeDeviceIP: 169.254.96.16\n  adminAddress: 127.0.0.1:9999\n  stateDir: /var/lib/edgemesh\n  logLevel: debug\nmodules:\n  edgeProxy:\n    enable: true\n    listenPort: 20007\n    drainTimeout: 25s\n    excludeServices: [a/b]\n    limits: {maxUdpFlows: 5}\n    ruleLease: 15m\n  edgeTunnel: &t\n    enable: true\n    psk: {path: /etc/psk}\n    listenPort: 20006\n    addressRanges: [10.244.3.0/24]\n    relayNodes:\n    - nodeName: a\n      advertiseAddress: [1.2.3.4, \"fd00::1\"]\n";

    internal const string Nft = "table inet edgemesh {\n\tset lease {\n\t\ttype ipv4_addr\n\t\tflags timeout\n\t\telements = { 0.0.0.0 timeout 15m expires 14m59s,\n\t\t\t     1.2.3.4 timeout 1s }\n\t}\n\n\tmap services {\n\t\ttype inet_proto . ipv4_addr . inet_service : verdict\n\t\telements = { tcp . 10.96.0.1 . 80 comment \"a/b\" : goto x }\n\t}\n\n\tchain x {\n\t\ttype nat hook prerouting priority dstnat - 5; policy accept;\n\t\tip daddr . th dport vmap @services comment \"hello\"\n\t}\n}\n";

    internal const string Saved = "# Generated\n*nat\n:PREROUTING ACCEPT [0:0]\n:EDGEMESH-PORTALS - [0:0]\n-A PREROUTING -m comment --comment \"kube \\\"x\\\" y\" -j EDGEMESH-PORTALS\n-A EDGEMESH-PORTALS -d 10.96.0.1/32 -p tcp -m tcp --dport 80 ! -s 1.2.3.4/32 -j DNAT --to-destination 169.254.96.16:20007\nCOMMIT\n";

    internal static string Facts()
    {
        var text = string.Join('\n',
            """{"format":"edgemesh-facts","version":2,"source":{"configured":"x","server":"https://1.2.3.4:6443","authority":"aa"},"asOf":"2025-01-01T00:00:00+00:00","nodeLabels":{"a":"b"}}""",
            "{\"service\":" + Service + "}", "{\"slice\":" + Slice + "}", "{\"endpoints\":" + Endpoints + "}") + "\n";
        return text + "{\"sha256\":\"" + Convert.ToHexString(SHA256.HashData(Encoding.UTF8.GetBytes(text))) + "\"}\n";
    }
}
