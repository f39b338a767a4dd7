using System.ComponentModel;
using System.Runtime.InteropServices;
using System.Threading.Channels;
using Microsoft.Win32.SafeHandles;

namespace EdgeMesh.Testing.Lab.Mesh;

/// <summary>Two TUN devices of one name in two namespaces, and between them a line that takes its time: what goes in at one
/// end comes out at the other after the delay, in order, nothing lost but what finds the line full.</summary>
public sealed class DelayLine : IAsyncDisposable
{
    private const int LargestPacket = 2048;

    /// <summary>As a router's queue would be: 100 ms of about 250 Mbit/s.</summary>
    private const int MostPackets = 8192;

    private readonly SafeFileHandle[] _ends;
    private readonly CancellationTokenSource _stop = new();
    private readonly List<Task> _work = [];

    private DelayLine(SafeFileHandle one, SafeFileHandle other, TimeSpan delay)
    {
        _ends = [one, other];
        _work.Add(CarryAsync(one, other, delay));
        _work.Add(CarryAsync(other, one, delay));
    }

    public static DelayLine Open(NetworkNamespace one, NetworkNamespace other, string device, TimeSpan delay)
    {
        ArgumentNullException.ThrowIfNull(one);
        ArgumentNullException.ThrowIfNull(other);
        return new DelayLine(one.Run(() => TunDevice.Open(device)), other.Run(() => TunDevice.Open(device)), delay);
    }

    public async ValueTask DisposeAsync()
    {
        await _stop.CancelAsync();
        await Task.WhenAll(_work);
        foreach (var end in _ends)
            end.Dispose();
        _stop.Dispose();
    }

    private async Task CarryAsync(SafeFileHandle from, SafeFileHandle to, TimeSpan delay)
    {
        var line = Channel.CreateBounded<(byte[] Packet, long Due)>(new BoundedChannelOptions(MostPackets) { FullMode = BoundedChannelFullMode.DropWrite, SingleReader = true, SingleWriter = true });
        var time = TimeProvider.System;
        var reading = Task.Factory.StartNew(
            () =>
            {
                var buffer = new byte[LargestPacket];
                while (!_stop.IsCancellationRequested)
                {
                    var length = TunDevice.Read(from, buffer, TimeSpan.FromMilliseconds(100));
                    if (length > 0)
                        line.Writer.TryWrite((buffer[..length], time.GetTimestamp() + (long)(delay.TotalSeconds * time.TimestampFrequency)));
                }

                line.Writer.Complete();
            },
            CancellationToken.None, TaskCreationOptions.LongRunning, TaskScheduler.Default);
        using var timer = new PeriodicTimer(TimeSpan.FromMilliseconds(1));
        await foreach (var (packet, due) in line.Reader.ReadAllAsync(CancellationToken.None))
        {
            while (time.GetTimestamp() < due && !_stop.IsCancellationRequested)
                await timer.WaitForNextTickAsync(CancellationToken.None);
            TunDevice.Write(to, packet);
        }

        await reading;
    }
}

/// <summary>The calls that make and serve a TUN device (linux/if_tun.h).</summary>
internal static unsafe partial class TunDevice
{
    private const uint SetInterface = 0x400454ca;
    private const short Tun = 0x0001;
    private const short NoPacketInformation = 0x1000;
    private const short PollIn = 1;

    public static SafeFileHandle Open(string name)
    {
        var handle = File.OpenHandle("/dev/net/tun", FileMode.Open, FileAccess.ReadWrite, FileShare.ReadWrite);
        var request = stackalloc byte[40];
        new Span<byte>(request, 40).Clear();
        System.Text.Encoding.ASCII.GetBytes(name, new Span<byte>(request, 15));
        *(short*)(request + 16) = Tun | NoPacketInformation;
        if (IoControl(handle, SetInterface, request) == 0)
            return handle;
        var error = Marshal.GetLastPInvokeError();
        handle.Dispose();
        throw new Win32Exception(error, $"The TUN device {name} cannot be made: {Marshal.GetPInvokeErrorMessage(error)}. The lab needs root and CONFIG_TUN.");
    }

    /// <returns>Bytes of one packet; 0: none came in time, or the device is down.</returns>
    public static int Read(SafeFileHandle device, byte[] buffer, TimeSpan wait)
    {
        var added = false;
        device.DangerousAddRef(ref added);
        try
        {
            var poll = stackalloc byte[8];
            *(int*)poll = (int)device.DangerousGetHandle();
            *(short*)(poll + 4) = PollIn;
            *(short*)(poll + 6) = 0;
            if (Poll(poll, 1, (int)wait.TotalMilliseconds) <= 0 || (*(short*)(poll + 6) & PollIn) == 0)
                return 0;
            fixed (byte* bytes = buffer)
                return Math.Max(0, (int)ReadBytes(device, bytes, (nuint)buffer.Length));
        }
        finally
        {
            if (added)
                device.DangerousRelease();
        }
    }

    public static void Write(SafeFileHandle device, byte[] packet)
    {
        // A device that is down refuses: so does a real line.
        fixed (byte* bytes = packet)
            _ = WriteBytes(device, bytes, (nuint)packet.Length);
    }

    [LibraryImport("libc", EntryPoint = "ioctl", SetLastError = true)]
    private static partial int IoControl(SafeFileHandle descriptor, nuint request, void* argument);

    [LibraryImport("libc", EntryPoint = "poll", SetLastError = true)]
    private static partial int Poll(void* descriptors, nuint count, int milliseconds);

    [LibraryImport("libc", EntryPoint = "read", SetLastError = true)]
    private static partial nint ReadBytes(SafeFileHandle descriptor, void* buffer, nuint length);

    [LibraryImport("libc", EntryPoint = "write", SetLastError = true)]
    private static partial nint WriteBytes(SafeFileHandle descriptor, void* buffer, nuint length);
}
