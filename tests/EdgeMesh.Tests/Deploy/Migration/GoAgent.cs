using EdgeMesh.Tests.Deploy.Chart;

namespace EdgeMesh.Tests.Deploy.Migration;

/// <summary>What a cluster holds of EdgeMesh's own agent, release 1.12 to 1.17, as its chart and its manifests leave it.</summary>
internal static class GoAgent
{
    public const string Key = "dXNlcnMga2V5IG9mIHRoaXJ0eS10d28gYnl0ZXMgbG9uZw==";

    /// <param name="key">The volume of the key; a Secret where the user preferred one.</param>
    public static List<Dictionary<string, object?>> Objects(string key = "configMap: {name: edgemesh-agent-psk}") =>
    [
        .. HelmChart.ObjectsIn($$$"""
            {apiVersion: v1, kind: ServiceAccount, metadata: {name: edgemesh-agent, namespace: kubeedge}}
            ---
            {apiVersion: v1, kind: ConfigMap, metadata: {name: edgemesh-agent-psk, namespace: kubeedge}, data: {psk: {{{Key}}} }}
            ---
            apiVersion: v1
            kind: ConfigMap
            metadata: {name: edgemesh-agent-cfg, namespace: kubeedge}
            data:
              edgemesh-agent.yaml: |-
                modules:
                  edgeProxy:
                    enable: true
                  edgeTunnel:
                    enable: true
                    relayNodes:
                    - nodeName: relay-of-the-user
                      advertiseAddress:
                      - 203.0.113.9
            ---
            apiVersion: apps/v1
            kind: DaemonSet
            metadata: {name: edgemesh-agent, namespace: kubeedge, labels: {k8s-app: kubeedge, kubeedge: edgemesh-agent}}
            spec:
              selector: {matchLabels: {k8s-app: kubeedge, kubeedge: edgemesh-agent}}
              template:
                metadata: {labels: {k8s-app: kubeedge, kubeedge: edgemesh-agent}}
                spec:
                  hostNetwork: true
                  restartPolicy: Always
                  serviceAccountName: edgemesh-agent
                  containers:
                    - name: edgemesh-agent
                      image: kubeedge/edgemesh-agent:v1.17.0
                      securityContext: {privileged: true}
                      env:
                        - {name: NODE_NAME, valueFrom: {fieldRef: {fieldPath: spec.nodeName} } }
                        - {name: NAMESPACE, valueFrom: {fieldRef: {fieldPath: metadata.namespace} } }
                      resources: {limits: {cpu: 1, memory: 256Mi}, requests: {cpu: 0.5, memory: 128Mi}}
                      volumeMounts:
                        - {name: conf, mountPath: /etc/edgemesh/config}
                        - {name: resolv, mountPath: /etc/resolv.conf}
                        - {name: host-time, mountPath: /etc/localtime, readOnly: true}
                        - {name: psk, mountPath: /etc/edgemesh}
                  volumes:
                    - {name: conf, configMap: {name: edgemesh-agent-cfg} }
                    - {name: resolv, hostPath: {path: /etc/resolv.conf} }
                    - {name: host-time, hostPath: {path: /etc/localtime} }
                    - {name: psk, {{{key}}} }
            """),
    ];

    /// <summary>The same with what the API server adds to what it was given.</summary>
    public static Dictionary<string, object?> Live(Dictionary<string, object?> daemonSet) => Applied.Over(daemonSet, null, HelmChart.Map("""
        metadata: {uid: 1, resourceVersion: "7"}
        spec:
          revisionHistoryLimit: 10
          updateStrategy: {type: RollingUpdate, rollingUpdate: {maxUnavailable: 1, maxSurge: 0}}
          template:
            spec:
              dnsPolicy: ClusterFirst
              schedulerName: default-scheduler
              terminationGracePeriodSeconds: 30
              volumes: [{name: conf, configMap: {defaultMode: 420}}, {name: resolv, hostPath: {type: ''}}]
        """));
}
