namespace EdgeMesh.Testing.Lab;

/// <summary>Says in one sentence what a machine lacks. A host test that cannot run fails; it is never skipped.</summary>
internal static class LabRequirements
{
    private static readonly string[] _programs =
        ["ip", "iptables-nft", "iptables-legacy", "iptables-nft-restore", "iptables-legacy-restore", "ip6tables-nft", "nft", "conntrack", "curl", "nginx", "socat"];

    private static readonly Lazy<Task> _checked = new(CheckOnceAsync);

    public static Task CheckAsync() => _checked.Value;

    private static async Task CheckOnceAsync()
    {
        if (Environment.UserName != "root")
            throw new InvalidOperationException("Host tests need root, because they make network namespaces and load netfilter rules into them: run ./test.sh as root.");
        var missing = _programs.Where(program => Find(program) is null).ToArray();
        if (missing.Length > 0)
            throw new InvalidOperationException($"Host tests need programs that this machine lacks: {string.Join(", ", missing)}. ./test.sh installs them.");

        var name = LabLeftovers.NewName() + "-check";
        (await CommandResult.RunAsync("ip", ["netns", "add", name])).Succeeded();
        try
        {
            await NeedsAsync(name, "veth devices (CONFIG_VETH)", "ip", "link", "add", "v0", "type", "veth", "peer", "name", "v1");
            await NeedsAsync(name, "bridges (CONFIG_BRIDGE)", "ip", "link", "add", "b0", "type", "bridge");
            await NeedsAsync(name, "VXLAN devices (CONFIG_VXLAN)", "ip", "link", "add", "x0", "type", "vxlan", "id", "1", "dstport", "8472");
            await NeedsAsync(name, "nf_tables NAT (CONFIG_NFT_NAT, CONFIG_NFT_COMPAT)", "iptables-nft", "-t", "nat", "-A", "OUTPUT", "-d", "192.0.2.1", "-p", "tcp", "-j", "DNAT", "--to-destination", "192.0.2.2:1");
            await NeedsAsync(name, "legacy iptables NAT (CONFIG_IP_NF_NAT)", "iptables-legacy", "-t", "nat", "-A", "OUTPUT", "-d", "192.0.2.1", "-p", "tcp", "-j", "DNAT", "--to-destination", "192.0.2.2:1");
            await NeedsAsync(name, "the recent match (CONFIG_NETFILTER_XT_MATCH_RECENT)", "iptables-nft", "-t", "nat", "-A", "OUTPUT", "-m", "recent", "--rcheck", "--seconds", "4", "--name", "check", "-j", "RETURN");
            await NeedsAsync(name, "conntrack over netlink (CONFIG_NF_CT_NETLINK)", "conntrack", "-L");
        }
        finally
        {
            await CommandResult.RunAsync("ip", ["netns", "delete", name]);
        }
    }

    /// <summary>For a lab whose bridge has it; a user's node may be without.</summary>
    public static void CheckBridgeNetfilter()
    {
        if (!File.Exists("/proc/sys/net/bridge/bridge-nf-call-iptables"))
            throw new InvalidOperationException("This test needs bridge netfilter (CONFIG_BRIDGE_NETFILTER), which this kernel lacks or has not loaded: modprobe br_netfilter");
    }

    private static async Task NeedsAsync(string name, string what, params string[] command)
    {
        var result = await CommandResult.RunAsync("ip", ["netns", "exec", name, .. command]);
        if (result.ExitCode != 0)
            throw new InvalidOperationException($"Host tests need {what}, which this kernel lacks: `{string.Join(' ', command)}` said: {result.Errors.Trim()}");
    }

    private static string? Find(string program) =>
        (Environment.GetEnvironmentVariable("PATH") ?? "").Split(':')
            .Concat(["/usr/sbin", "/sbin"])
            .Select(folder => Path.Combine(folder, program))
            .FirstOrDefault(File.Exists);
}
