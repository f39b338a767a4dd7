using System.Runtime.InteropServices;

namespace EdgeMesh.Linux.Netlink;

/// <summary>A socket filter (classic BPF) that drops, inside the kernel, event buffers that speak only of set elements
/// and generation numbers: with a heartbeat that renews an element every second, the monitor would else wake for it.</summary>
/// <remarks>Since 5.x the kernel packs several events into one buffer, so the filter walks up to eight of them;
/// a buffer that it cannot judge is let through, for the parser to judge.</remarks>
internal static unsafe class SetElementFilter
{
    private const int Walk = 8;
    private const int AcceptAll = -1;

    [StructLayout(LayoutKind.Sequential)]
    private struct Instruction
    {
        internal ushort Code;
        internal byte JumpTrue;
        internal byte JumpFalse;
        internal uint Value;
    }

    [StructLayout(LayoutKind.Sequential)]
    private struct FilterProgram
    {
        internal ushort Length;
        internal Instruction* Instructions;
    }

    internal static void Attach(NetlinkSocket socket)
    {
        // The loads below pick the low byte first; on a big-endian machine the parser alone does the work.
        if (!BitConverter.IsLittleEndian)
            return;
        var program = Build();
        fixed (Instruction* instructions = program)
        {
            var filter = new FilterProgram { Length = (ushort)program.Length, Instructions = instructions };
            // A refusal costs wake-ups, not correctness.
            NetlinkCalls.SetOption(socket.Handle, NetlinkCalls.SolSocket, NetlinkCalls.SoAttachFilter, &filter, (uint)sizeof(FilterProgram));
        }
    }

    private static Instruction[] Build()
    {
        const ushort loadIndexImmediate = 0x01, store = 0x02, storeIndex = 0x03, addConstant = 0x04, ret = 0x06, toIndex = 0x07;
        const ushort addIndex = 0x0c, jumpEqual = 0x15, jumpGreaterIndex = 0x2d, orIndex = 0x4c, loadByte = 0x50, andConstant = 0x54;
        const ushort loadIndexMemory = 0x61, shiftLeft = 0x64, loadLength = 0x80;
        const int perMessage = 20;
        const int accept = 1 + (Walk * perMessage);
        const int drop = accept + 1;
        var code = new List<Instruction>();
        void Emit(ushort operation, uint value = 0, byte jumpTrue = 0, byte jumpFalse = 0) =>
            code.Add(new Instruction { Code = operation, JumpTrue = jumpTrue, JumpFalse = jumpFalse, Value = value });
        byte To(int target) => (byte)(target - code.Count - 1);

        Emit(loadIndexImmediate);
        for (var i = 0; i < Walk; i++)
        {
            Emit(loadByte, 5);
            Emit(jumpEqual, 10, 0, To(accept));
            Emit(loadByte, 4);
            Emit(jumpEqual, 12, 2);
            Emit(jumpEqual, 14, 1);
            Emit(jumpEqual, 15, 0, To(accept));
            // index += (length + 3) & ~3, with length = byte 0 | byte 1 << 8
            Emit(loadByte);
            Emit(store);
            Emit(loadByte, 1);
            Emit(shiftLeft, 8);
            Emit(storeIndex, 1);
            Emit(loadIndexMemory);
            Emit(orIndex);
            Emit(addConstant, 3);
            Emit(andConstant, 0xFFFFFFFC);
            Emit(loadIndexMemory, 1);
            Emit(addIndex);
            Emit(toIndex);
            Emit(loadLength);
            Emit(jumpGreaterIndex, 0, 0, To(drop));
        }

        Emit(ret, unchecked((uint)AcceptAll));
        Emit(ret);
        return [.. code];
    }
}
