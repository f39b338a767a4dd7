using System.Buffers.Binary;
using System.Globalization;
using System.Text.Json;
using EdgeMesh.Testing;

namespace EdgeMesh.HostTests.Lifecycle;

/// <summary>deploy/seccomp/edgemesh-agent.json, enforced as a container's runtime would: by a filter that is installed before
/// the program is executed.</summary>
internal static class SeccompProfile
{
    private const string Numbers = "/usr/include/x86_64-linux-gnu/asm/unistd_64.h";

    // prctl is call 157 of x86-64; PR_SET_NO_NEW_PRIVS is 38, PR_SET_SECCOMP 22, SECCOMP_MODE_FILTER 2.
    // perl is in every Debian, and makes system calls without a compiler.
    private const string Install = """
        open F, '<', shift or die; binmode F; local $/; my $f = <F>; my @none = (0, 0, 0);
        syscall(157, 38, 1, @none) == 0 or die "no new privileges: $!";
        syscall(157, 22, 2, pack('S x6 P', length($f) / 8, $f), 0, 0) == 0 or die "filter: $!";
        exec @ARGV or die "exec: $!";
        """;

    /// <returns>The words in front of a command that put it under the profile; the process id stays.</returns>
    public static IReadOnlyList<string> Launcher(string folder)
    {
        var filter = Path.Combine(folder, "seccomp.bpf");
        File.WriteAllBytes(filter, Filter([.. Allowed()]));
        return ["perl", "-e", Install, filter];
    }

    private static IEnumerable<uint> Allowed()
    {
        using var profile = JsonDocument.Parse(File.ReadAllText(Repository.PathOf("deploy/seccomp/edgemesh-agent.json")));
        const string Definition = "#define __NR_";
        var numbers = File.ReadLines(Numbers).Where(line => line.StartsWith(Definition, StringComparison.Ordinal))
            .Select(line => line[Definition.Length..].Split(' ')).ToDictionary(words => words[0], words => uint.Parse(words[1], CultureInfo.InvariantCulture));
        foreach (var group in profile.RootElement.GetProperty("syscalls").EnumerateArray())
        {
            foreach (var name in group.GetProperty("names").EnumerateArray())
            {
                // A name that these headers do not know is one of a later kernel; runtimes pass over it too.
                if (numbers.TryGetValue(name.GetString()!, out var number))
                    yield return number;
            }
        }
    }

    /// <summary>Classic BPF: what is of x86-64 and in the list passes, all else fails with EPERM.</summary>
    private static byte[] Filter(IReadOnlyList<uint> allowed)
    {
        const uint Refuse = 0x00050001;
        const uint Allow = 0x7fff0000;
        List<(ushort Code, byte IfTrue, byte IfFalse, uint Operand)> program =
        [
            (0x20, 0, 0, 4),
            (0x15, 1, 0, 0xc000003e),
            (0x06, 0, 0, Refuse),
            (0x20, 0, 0, 0),
        ];
        foreach (var number in allowed)
        {
            program.Add((0x15, 0, 1, number));
            program.Add((0x06, 0, 0, Allow));
        }

        program.Add((0x06, 0, 0, Refuse));
        var bytes = new byte[program.Count * 8];
        for (var i = 0; i < program.Count; i++)
        {
            var place = bytes.AsSpan(i * 8);
            BinaryPrimitives.WriteUInt16LittleEndian(place, program[i].Code);
            place[2] = program[i].IfTrue;
            place[3] = program[i].IfFalse;
            BinaryPrimitives.WriteUInt32LittleEndian(place[4..], program[i].Operand);
        }

        return bytes;
    }
}
