using EdgeMesh.Linux.Confinement;
using Xunit;

namespace EdgeMesh.Tests.Linux.Confinement;

/// <summary>The filter's text, run as the kernel would run it. That this kernel takes it, host tests show.</summary>
public sealed class SystemCallFilterTests
{
    private const uint X64 = 0xc000003e;
    private const uint Allow = 0x7fff0000;
    private const uint Refuse = 0x00050001;

    [Theory]
    [InlineData(101)] // ptrace
    [InlineData(321)] // bpf
    [InlineData(427)] // io_uring_register, the last of the list
    public void AForbiddenCallFails(uint number) => Assert.Equal(Refuse, Run(X64, number));

    [Theory]
    [InlineData(0)] // read
    [InlineData(59)] // execve: rules are written by programs of the node
    [InlineData(435)] // clone3
    [InlineData(1000)] // of a kernel to come
    public void AnyOtherCallPasses(uint number) => Assert.Equal(Allow, Run(X64, number));

    [Fact]
    public void CallsOfAnotherArchitectureOfTheSameProcessorFail()
    {
        Assert.Equal(Refuse, Run(0x40000003, 0)); // i386
        Assert.Equal(Refuse, Run(X64, 0x40000000)); // x32
    }

    [Fact]
    public void EveryNumberIsListedOnceAndBothProcessorsForbidTheSame()
    {
        Assert.Distinct(SystemCallFilter.ForbiddenX64);
        Assert.Distinct(SystemCallFilter.ForbiddenArm64);
        // create_module, iopl and ioperm are calls of x86 alone.
        Assert.Equal(SystemCallFilter.ForbiddenX64.Length - 3, SystemCallFilter.ForbiddenArm64.Length);
    }

    private static uint Run(uint architecture, uint number)
    {
        var program = SystemCallFilter.Program(X64, SystemCallFilter.ForbiddenX64);
        var value = 0u;
        for (var at = 0; ;)
        {
            var instruction = program[at++];
            switch (instruction.Code)
            {
                case 0x20:
                    value = instruction.Operand == 4 ? architecture : number;
                    break;
                case 0x15:
                    at += value == instruction.Operand ? instruction.IfTrue : instruction.IfFalse;
                    break;
                case 0x35:
                    at += value >= instruction.Operand ? instruction.IfTrue : instruction.IfFalse;
                    break;
                default:
                    return instruction.Operand;
            }
        }
    }
}
