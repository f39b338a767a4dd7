using System.Text.Json;
using EdgeMesh.Testing;
using Xunit;

namespace EdgeMesh.Tests.Deploy;

/// <summary>The profile's text. That the agent works under it, host tests show.</summary>
public sealed class SeccompProfileTests
{
    private static readonly JsonElement Profile = JsonElement.Parse(File.ReadAllText(Repository.PathOf("deploy/seccomp/edgemesh-agent.json")));

    [Fact]
    public void WhatIsNotNamedFailsAndNothingIsNamedTwice()
    {
        Assert.Equal("SCMP_ACT_ERRNO", Profile.GetProperty("defaultAction").GetString());
        Assert.All(Profile.GetProperty("syscalls").EnumerateArray(), group => Assert.Equal("SCMP_ACT_ALLOW", group.GetProperty("action").GetString()));
        Assert.Distinct(Names());
        Assert.Equal(["SCMP_ARCH_X86_64", "SCMP_ARCH_AARCH64"], Profile.GetProperty("architectures").EnumerateArray().Select(a => a.GetString()));
    }

    [Theory]
    [InlineData("bpf kexec_load init_module finit_module delete_module mount umount2 move_mount pivot_root chroot setns unshare reboot")]
    [InlineData("ptrace process_vm_readv process_vm_writev pidfd_getfd kcmp perf_event_open userfaultfd keyctl add_key request_key")]
    [InlineData("io_uring_setup open_by_handle_at swapon acct settimeofday clock_settime clock_adjtime sethostname iopl ioperm mknod mknodat chown")]
    public void WhatTheAgentNeverDoesIsNotNamed(string calls) => Assert.Empty(Names().Intersect(calls.Split(' ')));

    /// <summary>Calls that C libraries and runtimes make in the place of older ones, and take a refusal of for a fault: the name of the old
    /// one alone would break the agent on another distribution.</summary>
    [Theory]
    [InlineData("clone clone3 fork vfork execve wait4 waitid")]
    [InlineData("open openat stat newfstatat fstat statx access faccessat faccessat2 rename renameat renameat2 close close_range")]
    [InlineData("epoll_wait epoll_pwait epoll_pwait2 poll ppoll pipe pipe2 dup2 dup3 accept accept4 eventfd2 futex futex_waitv rseq")]
    public void OldAndNewNamesOfACallAreBothThere(string calls) => Assert.Empty(calls.Split(' ').Except(Names()));

    private static List<string> Names() =>
        [.. Profile.GetProperty("syscalls").EnumerateArray().SelectMany(group => group.GetProperty("names").EnumerateArray()).Select(name => name.GetString()!)];
}
