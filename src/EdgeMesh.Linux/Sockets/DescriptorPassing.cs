using System.Runtime.InteropServices;
using EdgeMesh.Linux.Datagrams;

namespace EdgeMesh.Linux.Sockets;

/// <summary>Descriptors beside bytes on a unix stream socket (SCM_RIGHTS, unix(7)).</summary>
public static unsafe class DescriptorPassing
{
    /// <summary>In one message; the kernel allows 253.</summary>
    public const int MostAtOnce = 64;

    private const int SOL_SOCKET = 1;
    private const int SCM_RIGHTS = 1;
    private const int MSG_DONTWAIT = 0x40;
    private const int MSG_NOSIGNAL = 0x4000;
    private const int MSG_CMSG_CLOEXEC = 0x4000_0000;
    private const int MSG_CTRUNC = 0x08;

    private static readonly int _headerBytes = Align(sizeof(ControlHeader));

    /// <summary>Sends both, or neither. Returns the bytes that were taken, or a negated errno.</summary>
    public static int Send(SafeHandle socket, ReadOnlySpan<byte> bytes, ReadOnlySpan<int> descriptors)
    {
        ArgumentNullException.ThrowIfNull(socket);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(descriptors.Length, MostAtOnce, nameof(descriptors));
        var control = stackalloc byte[_headerBytes + Align(MostAtOnce * sizeof(int))];
        var length = _headerBytes + (descriptors.Length * sizeof(int));
        *(ControlHeader*)control = new ControlHeader { Length = (nuint)length, Level = SOL_SOCKET, Type = SCM_RIGHTS };
        descriptors.CopyTo(new Span<int>(control + _headerBytes, descriptors.Length));
        fixed (byte* first = bytes)
        {
            var vector = new DatagramCalls.Vector { Start = first, Length = (nuint)bytes.Length };
            var message = new DatagramCalls.MessageHeader { Vectors = &vector, VectorCount = 1 };
            if (!descriptors.IsEmpty)
            {
                message.Control = control;
                message.ControlLength = (nuint)(_headerBytes + Align(descriptors.Length * sizeof(int)));
            }

            return Call(socket, &message, MSG_DONTWAIT | MSG_NOSIGNAL, isSending: true);
        }
    }

    /// <summary>Receives what is there, and the descriptors that came with it, each the caller's to close.</summary>
    /// <returns>0: the other end is closed; else the number of bytes, or a negated errno; EMFILE where not every descriptor found a place.</returns>
    public static int Receive(SafeHandle socket, Span<byte> bytes, ICollection<DescriptorHandle> descriptors)
    {
        ArgumentNullException.ThrowIfNull(socket);
        ArgumentNullException.ThrowIfNull(descriptors);
        var room = _headerBytes + Align(MostAtOnce * sizeof(int));
        var control = stackalloc byte[room];
        fixed (byte* first = bytes)
        {
            var vector = new DatagramCalls.Vector { Start = first, Length = (nuint)bytes.Length };
            var message = new DatagramCalls.MessageHeader { Vectors = &vector, VectorCount = 1, Control = control, ControlLength = (nuint)room };
            var result = Call(socket, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC, isSending: false);
            if (result < 0)
                return result;
            // One header is all that this kind of socket is sent: credentials were not asked for.
            var header = (ControlHeader*)control;
            if (message.ControlLength >= (nuint)_headerBytes && header->Level == SOL_SOCKET && header->Type == SCM_RIGHTS)
            {
                foreach (var descriptor in new ReadOnlySpan<int>(control + _headerBytes, (int)(header->Length - (nuint)_headerBytes) / sizeof(int)))
                    descriptors.Add(new DescriptorHandle(descriptor));
            }

            return (message.Flags & MSG_CTRUNC) == 0 ? result : -Errno.EMFILE;
        }
    }

    private static int Call(SafeHandle socket, DatagramCalls.MessageHeader* message, int flags, bool isSending)
    {
        var isHeld = false;
        try
        {
            socket.DangerousAddRef(ref isHeld);
            var descriptor = (int)socket.DangerousGetHandle();
            var result = isSending ? Libc.sendmsg(descriptor, message, flags) : Libc.recvmsg(descriptor, message, flags);
            return result < 0 ? Libc.Failure() : (int)result;
        }
        finally
        {
            if (isHeld)
                socket.DangerousRelease();
        }
    }

    private static int Align(int bytes) => (bytes + sizeof(nuint) - 1) / sizeof(nuint) * sizeof(nuint);

    /// <summary>struct cmsghdr.</summary>
    [StructLayout(LayoutKind.Sequential)]
    private struct ControlHeader
    {
        public nuint Length;
        public int Level;
        public int Type;
    }
}
