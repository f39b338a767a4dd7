using System.Globalization;
using System.Runtime.InteropServices;
using EdgeMesh.Testing.Lab;

namespace EdgeMesh.Tests.Linux.Abi;

/// <summary>What the C headers of a processor say, asked of its compiler.</summary>
internal static class Compiled
{
    /// <summary>Values of C expressions; one whose macro the processor does not have is left out.</summary>
    public static async Task<Dictionary<string, long>> ValuesAsync(Architecture processor, IEnumerable<string> expressions)
    {
        var lines = expressions.Distinct(StringComparer.Ordinal).Select(e => e.StartsWith("__NR_", StringComparison.Ordinal)
            ? $"#ifdef {e}\n  printf(\"%lld {e}\\n\", (long long)({e}));\n#endif"
            : $"  printf(\"%lld {e.Replace("%", "%%", StringComparison.Ordinal)}\\n\", (long long)({e}));");
        var source = $$"""
            #define _GNU_SOURCE
            #include <errno.h>
            #include <fcntl.h>
            #include <poll.h>
            #include <stddef.h>
            #include <stdio.h>
            #include <time.h>
            #include <netinet/in.h>
            #include <netinet/tcp.h>
            #include <sys/epoll.h>
            #include <sys/eventfd.h>
            #include <sys/mman.h>
            #include <sys/prctl.h>
            #include <sys/resource.h>
            #include <sys/socket.h>
            #include <sys/syscall.h>
            #include <sys/time.h>
            #include <sys/timerfd.h>
            #include <sys/timex.h>
            #include <linux/audit.h>
            #include <linux/filter.h>
            #include <linux/netlink.h>
            #include <linux/seccomp.h>
            #include <linux/sockios.h>
            int main(void) {
            {{string.Join('\n', lines)}}
              return 0;
            }
            """;
        var folder = Directory.CreateTempSubdirectory("edgemesh-abi-");
        try
        {
            var code = Path.Combine(folder.FullName, "abi.c");
            var program = Path.Combine(folder.FullName, "abi");
            await File.WriteAllTextAsync(code, source);
            var name = processor == Architecture.X64 ? "x86_64" : "aarch64";
            (await CommandResult.RunAsync($"{name}-linux-gnu-gcc", ["-w", "-static", "-o", program, code])).Succeeded();
            // Also where it is this machine's: these tests may themselves be what is emulated.
            var run = await CommandResult.RunAsync($"qemu-{name}-static", [program]);
            return run.Succeeded().Output.Split('\n', StringSplitOptions.RemoveEmptyEntries).Select(line => line.Split(' ', 2))
                .ToDictionary(parts => parts[1], parts => long.Parse(parts[0], CultureInfo.InvariantCulture), StringComparer.Ordinal);
        }
        finally
        {
            folder.Delete(recursive: true);
        }
    }
}
