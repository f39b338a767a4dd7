using System.Net;
using System.Net.Sockets;
using EdgeMesh.Agent.Admin;
using Microsoft.Extensions.Logging;
using static EdgeMesh.Agent.Options.KeyKinds;

namespace EdgeMesh.Agent.Options;

internal static class CommonKeys
{
    private static readonly OrderedDictionary<string, LogLevel> LogLevels = new(StringComparer.Ordinal)
    {
        ["debug"] = LogLevel.Debug,
        ["information"] = LogLevel.Information,
        ["warning"] = LogLevel.Warning,
        ["error"] = LogLevel.Error,
    };

    public static readonly ConfigKey<string> DeviceName = new("commonConfig.bridgeDeviceName", "text", "edgemesh0",
        "The device that the agent makes to listen on.",
        Where<string>(ValueReaders.Text, v => v.Length is > 0 and <= 15 && v.All(c => char.IsAsciiLetterOrDigit(c) || c is '-' or '_' or '.'),
            "{} cannot name a network device", "use 1 to 15 letters, digits, '-', '_' or '.'"), Quote);

    public static readonly ConfigKey<IPAddress> DeviceAddress = Address("commonConfig.bridgeDeviceIP", "169.254.96.16",
        "Its IPv4 address. Must be in use nowhere else; IPv6 uses fd0e:6d65:7368::10.",
        Where<IPAddress>(ValueReaders.IpAddress,
            v => v.AddressFamily == AddressFamily.InterNetwork && !IPAddress.IsLoopback(v) && v.GetAddressBytes()[0] is > 0 and < 224,
            "{} cannot be the address of a device", "choose a free IPv4 address like 169.254.96.16"));

    public static readonly ConfigKey<string> StateDirectory = new("commonConfig.stateDir", "absolute path", "/var/lib/edgemesh",
        "Where the last good state of services and endpoints is kept.",
        Where<string>(ValueReaders.Text, v => v.Length > 1 && v[0] == '/', "wants an absolute path, and this is {}", "begin it with /"), Quote)
    {
        Reason = "a node that reboots while it is offline forwards at once",
    };

    public static readonly ConfigKey<IPEndPoint> AdminAddress = new("commonConfig.adminAddress", "address:port", new IPEndPoint(IPAddress.Loopback, 9999),
        "Where /healthz, /livez, /readyz, /metrics and the answers to `edgemesh-agent status` are served.", ValueReaders.ListenAddress, v => v.ToString())
    {
        Reason = "the agent has health and metrics of its own; whoever reaches the address reads the names of all services, so it is loopback",
    };

    public static readonly ConfigKey<string> AdminSocket = new("commonConfig.adminSocket", "absolute path", "",
        "A unix socket in place of adminAddress, which only the agent's user can reach. Its folder is made with mode 0700, or must be one that nobody else may write to. `edgemesh-agent probe` and `status` ask there.",
        Where<string>(ValueReaders.Text, v => v.Length == 0 || (v.Length is > 2 and <= AdminEndpoint.UnixSocket.LongestPath && v[0] == '/' && v[^1] != '/'),
            "wants an absolute path of at most 107 characters, and this is {}", "write it like /run/edgemesh/admin.sock"), Quote)
    {
        Reason = "other users of the node read no names of services there, and cannot take the place while no agent runs",
    };

    public static readonly ConfigKey<LogLevel> LogLevelKey = Word("commonConfig.logLevel", LogLevel.Information, LogLevels,
        "How much is logged.", "takes the place of klog's -v flag, and can be changed while the agent runs", live: true);

    public static IReadOnlyList<ConfigKey> All { get; } = [DeviceName, DeviceAddress, StateDirectory, AdminAddress, AdminSocket, LogLevelKey];
}
