using System.Reflection;
using System.Runtime.InteropServices;
using System.Text.RegularExpressions;
using EdgeMesh.Linux.Confinement;
using EdgeMesh.Linux.Sockets;
using EdgeMesh.Testing;
using Xunit;

namespace EdgeMesh.Tests.Linux.Abi;

/// <summary>Numbers and layouts of the system calls, held against the C headers of both processors.</summary>
public sealed partial class AbiTests
{
    private const string PollFields = "pollfd fd events revents";
    private const string FilterFields = "sock_filter code jt jf k";
    private const string ProgramFields = "sock_fprog len filter";

    private static readonly Architecture[] Processors = [Architecture.X64, Architecture.Arm64];

    /// <summary>The C struct behind each of ours, and its fields in order.</summary>
    private static readonly Dictionary<string, string> Structs = new(StringComparer.Ordinal)
    {
        ["DatagramCalls.BatchedMessage"] = "mmsghdr msg_hdr msg_len",
        ["DatagramCalls.MessageHeader"] = "msghdr msg_name msg_namelen msg_iov msg_iovlen msg_control msg_controllen msg_flags",
        ["DatagramCalls.Vector"] = "iovec iov_base iov_len",
        ["DescriptorPassing.ControlHeader"] = "cmsghdr cmsg_len cmsg_level cmsg_type",
        ["DatagramPair.PollDescriptor"] = PollFields,
        ["Libc.ResourceLimit"] = "rlimit rlim_cur rlim_max",
        ["Libc.TimerSpec"] = "itimerspec it_interval.tv_sec it_interval.tv_nsec it_value.tv_sec it_value.tv_nsec",
        ["NetlinkCalls.PollFd"] = PollFields,
        ["NetlinkCalls.SockaddrNl"] = "sockaddr_nl nl_family nl_pad nl_pid nl_groups",
        ["NetlinkCalls.Timeval"] = "timeval tv_sec tv_usec",
        ["ReusePortSteering.FilterInstruction"] = FilterFields,
        ["ReusePortSteering.FilterProgram"] = ProgramFields,
        ["SetElementFilter.FilterProgram"] = ProgramFields,
        ["SetElementFilter.Instruction"] = FilterFields,
        ["SystemCallFilter.Header"] = ProgramFields,
        ["SystemCallFilter.Instruction"] = FilterFields,
    };

    /// <summary>Constants whose name is not that of a macro.</summary>
    private static readonly Dictionary<string, string> Macros = new(StringComparer.Ordinal)
    {
        ["AddMembership"] = "IP_ADD_MEMBERSHIP",
        ["BPF_RET_K"] = "BPF_RET | BPF_K",
        ["EFD_NONBLOCK_CLOEXEC"] = "EFD_NONBLOCK | EFD_CLOEXEC",
        ["IPv6Only"] = "IPV6_V6ONLY",
        ["IpProtoRaw"] = "IPPROTO_RAW",
        ["MulticastAll"] = "IP_MULTICAST_ALL",
        ["MulticastInterface"] = "IP_MULTICAST_IF",
        ["MulticastTimeToLive"] = "IP_MULTICAST_TTL",
        ["NetlinkAddMembership"] = "NETLINK_ADD_MEMBERSHIP",
        ["O_NONBLOCK_CLOEXEC"] = "O_NONBLOCK | O_CLOEXEC",
        ["PollIn"] = "POLLIN",
        ["ProtocolIP"] = "IPPROTO_IP",
        ["ProtocolIPv6"] = "IPPROTO_IPV6",
        ["SOCK_SEQPACKET_NONBLOCK_CLOEXEC"] = "SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC",
        ["SOCK_STREAM_CLOEXEC"] = "SOCK_STREAM | SOCK_CLOEXEC",
        ["SOCK_STREAM_NONBLOCK_CLOEXEC"] = "SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC",
        ["SPLICE_F_MOVE_NONBLOCK"] = "SPLICE_F_MOVE | SPLICE_F_NONBLOCK",
        ["SoAttachFilter"] = "SO_ATTACH_FILTER",
        ["SockNonblockCloexec"] = "SOCK_NONBLOCK | SOCK_CLOEXEC",
        ["TIMEX_LENGTH"] = "sizeof(struct timex)",
        ["TIMEX_STATUS"] = "offsetof(struct timex, status)",
        ["TFD_NONBLOCK_CLOEXEC"] = "TFD_NONBLOCK | TFD_CLOEXEC",
    };

    private static readonly Assembly Linux = typeof(Epoll).Assembly;

    [Fact]
    public async Task EveryStructOfACallIsLaidOutAsInC()
    {
        var declared = Directory.GetFiles(Repository.PathOf("src/EdgeMesh.Linux"), "*.cs", SearchOption.AllDirectories)
            .SelectMany(file => Declared().Matches(File.ReadAllText(file)).Select(m => m.Groups["name"].Value));
        Assert.Equal(declared.Order(StringComparer.Ordinal), Structs.Keys.Select(k => k.Split('.')[1]).Order(StringComparer.Ordinal));

        var expected = new Dictionary<string, long>(StringComparer.Ordinal);
        foreach (var (ours, theirs) in Structs)
        {
            var names = theirs.Split(' ');
            var type = Linux.GetTypes().Single(t => t.IsNested && $"{t.DeclaringType!.Name}.{t.Name}" == ours);
            var fields = type.GetFields(BindingFlags.Instance | BindingFlags.Public | BindingFlags.NonPublic);
            Assert.Equal(names.Length - 1, fields.Length);
            expected[$"sizeof(struct {names[0]})"] = Marshal.SizeOf(type);
            foreach (var (field, name) in fields.Zip(names.Skip(1)))
            {
                expected[$"offsetof(struct {names[0]}, {name})"] = Marshal.OffsetOf(type, field.Name);
                // A field that is too wide may hide in the padding behind it.
                expected[$"sizeof(((struct {names[0]} *)0)->{name})"] = SizeOf(field.FieldType);
            }
        }

        foreach (var processor in Processors)
            AssertSame(processor, expected, await Compiled.ValuesAsync(processor, expected.Keys));
    }

    [Fact]
    public async Task EveryConstantOfACallHasTheValueThatItHasInC()
    {
        var constants = Linux.GetTypes().SelectMany(t => t.GetFields(BindingFlags.Static | BindingFlags.Public | BindingFlags.NonPublic | BindingFlags.DeclaredOnly))
            .Where(f => f.IsLiteral && !f.DeclaringType!.IsEnum && f.FieldType != typeof(string)).ToList();
        var expected = new Dictionary<string, long>(StringComparer.Ordinal);
        foreach (var constant in constants)
        {
            if (Macro(constant) is { } macro)
                expected[macro] = Convert.ToInt64(constant.GetRawConstantValue(), System.Globalization.CultureInfo.InvariantCulture);
        }

        Assert.True(expected.Count > 60, $"only {expected.Count} constants were recognised");
        foreach (var processor in Processors)
            AssertSame(processor, expected, await Compiled.ValuesAsync(processor, expected.Keys));
    }

    [Fact]
    public async Task TheEventOfEpollIsPackedOnOneProcessorAndNotOnTheOther()
    {
        foreach (var processor in Processors)
        {
            var offset = Epoll.DataOffsetOn(processor);
            AssertSame(
                processor,
                new(StringComparer.Ordinal) { ["offsetof(struct epoll_event, data)"] = offset, ["sizeof(struct epoll_event)"] = offset + sizeof(ulong) },
                await Compiled.ValuesAsync(processor, ["offsetof(struct epoll_event, data)", "sizeof(struct epoll_event)"]));
        }
    }

    /// <summary>The names stand beside the numbers of x86-64 in the source.</summary>
    [Fact]
    public async Task TheForbiddenCallsAreTheSameOnBothProcessors()
    {
        var source = File.ReadAllText(Repository.PathOf("src/EdgeMesh.Linux/Confinement/SystemCallFilter.cs"));
        var list = source[source.IndexOf("ForbiddenX64 {", StringComparison.Ordinal)..source.IndexOf("ForbiddenArm64 {", StringComparison.Ordinal)];
        var names = list.Split('\n').Where(l => l.Contains(", // ", StringComparison.Ordinal))
            .SelectMany(l => l.Split(", // ")[1].Split(", ")).Select(name => $"__NR_{name.Trim()}").ToList();
        foreach (var (processor, audit) in new[] { (Architecture.X64, "AUDIT_ARCH_X86_64"), (Architecture.Arm64, "AUDIT_ARCH_AARCH64") })
        {
            var values = await Compiled.ValuesAsync(processor, [.. names, "__NR_seccomp", audit]);
            var (architecture, seccomp, forbidden) = SystemCallFilter.NumbersOn(processor)!.Value;
            Assert.Equal((values[audit], values["__NR_seccomp"]), ((long)architecture, (long)seccomp));
            // A call that went out of the headers keeps its number.
            var known = names.Where(values.ContainsKey).Select(name => values[name]).ToHashSet();
            Assert.True(known.Count >= names.Count - 3, $"{processor} knows {known.Count} of {names.Count} calls");
            Assert.Subset(forbidden.Select(number => (long)number).ToHashSet(), known);
        }
    }

    private static void AssertSame(Architecture processor, Dictionary<string, long> expected, Dictionary<string, long> compiled) =>
        Assert.Equal(
            expected.Select(p => $"{processor}: {p.Key} = {p.Value}").Order(StringComparer.Ordinal),
            compiled.Select(p => $"{processor}: {p.Key} = {p.Value}").Order(StringComparer.Ordinal));

    /// <returns>Null for a constant of our own.</returns>
    private static string? Macro(FieldInfo constant)
    {
        var name = constant.Name;
        if (Macros.TryGetValue(name, out var macro))
            return macro;
        if (UpperCase().IsMatch(name))
            return name;
        return constant.DeclaringType!.Name is "NetlinkCalls" or "DatagramCalls"
            ? Camel().Match(name) is { Success: true } parts
                ? $"{parts.Groups["group"].Value.ToUpperInvariant()}_{parts.Groups["rest"].Value.ToUpperInvariant()}"
                : name.ToUpperInvariant()
            : null;
    }

    [GeneratedRegex(@"\[StructLayout\(LayoutKind\.Sequential\)\]\s+(private|internal|public)( readonly)?( record)? struct (?<name>\w+)", RegexOptions.ExplicitCapture, 1000)]
    private static partial Regex Declared();

    [GeneratedRegex(@"^[A-Z]+[A-Z0-9_]+$", RegexOptions.None, 1000)]
    private static partial Regex UpperCase();

    [GeneratedRegex(@"^(?<group>Af|Sock|So|Sol|Msg)(?<rest>[A-Z]\w*)$", RegexOptions.ExplicitCapture, 1000)]
    private static partial Regex Camel();

    /// <summary>A native program knows how to marshal structures that it was told to keep, and not numbers.</summary>
    private static int SizeOf(Type type) =>
        type.IsPointer || type == typeof(nint) || type == typeof(nuint) ? nint.Size : type.IsPrimitive ? Buffer.ByteLength(Array.CreateInstance(type, 1)) : Marshal.SizeOf(type);
}
