using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;

namespace EdgeMesh.Kubernetes;

/// <summary>How every file is read that a person or another program put there: nothing that stands under its name holds up the
/// reader. Opening a pipe waits for its other end, and opening a file for whoever has a lease on it, without a deadline and deaf to
/// cancellation; a device may have no end.</summary>
public static partial class SmallFile
{
    private const int FirstRead = 4096;

    // O_RDONLY | O_NOCTTY | O_NONBLOCK | O_CLOEXEC of Linux on x86-64 and arm64.
    private const int ReadWithoutWaiting = 0x100 | 0x800 | 0x80000;

    private const int ENOENT = 2, ENXIO = 6, EAGAIN = 11, EACCES = 13, EPERM = 1, ENODEV = 19, ENOTDIR = 20;

    /// <summary>It is opened without waiting, and what was opened is then asked what it is: a look before could be outdated.</summary>
    /// <returns>Null: it has no length, as pipes, sockets and devices have none, and an empty file has nothing to read.</returns>
    /// <exception cref="IOException">There is none (then <see cref="FileNotFoundException"/>), it is a folder, its links go round in a
    /// circle, or another program holds it.</exception>
    /// <exception cref="UnauthorizedAccessException">This process may not read it.</exception>
    public static FileStream? Open(string path)
    {
        ArgumentException.ThrowIfNullOrEmpty(path);
        var handle = new SafeFileHandle(open(path, ReadWithoutWaiting, 0), ownsHandle: true);
        if (handle.IsInvalid)
        {
            var error = Marshal.GetLastPInvokeError();
            handle.Dispose();
            // A socket's file, or a device without a driver.
            return error is ENXIO or ENODEV ? null : throw Refusal(path, error);
        }

        FileStream? stream = null;
        try
        {
            if (File.GetAttributes(handle).HasFlag(FileAttributes.Directory))
                throw new IOException($"'{path}' is a folder.");
            stream = new FileStream(handle, FileAccess.Read, FirstRead);
            if (stream.CanSeek && stream.Length > 0)
                return stream;
            stream.Dispose();
            return null;
        }
        catch
        {
            stream?.Dispose();
            handle.Dispose();
            throw;
        }
    }

    /// <summary>All of it. Empty also for what is no regular file.</summary>
    /// <param name="largest">More bytes are not read; the answer is then one byte longer than this.</param>
    /// <exception cref="IOException"><inheritdoc cref="Open"/></exception>
    /// <exception cref="UnauthorizedAccessException">This process may not read it.</exception>
    public static byte[] Read(string path, int largest)
    {
        using var stream = Open(path);
        return stream is null ? [] : Read(stream, largest);
    }

    /// <inheritdoc cref="Read(string, int)"/>
    public static byte[] Read(Stream stream, int largest)
    {
        // Not by its length, which may be wrong a moment later; nor at once into all the room there may be: some files are read each
        // second, and a megabyte each time would have the collector go through the whole heap every three.
        var most = largest + 1;
        var buffer = new byte[Math.Min(FirstRead, most)];
        var count = stream.ReadAtLeast(buffer, buffer.Length, throwOnEndOfStream: false);
        while (count == buffer.Length && count < most)
        {
            Array.Resize(ref buffer, (int)Math.Min(buffer.Length * 2L, most));
            count += stream.ReadAtLeast(buffer.AsSpan(count), buffer.Length - count, throwOnEndOfStream: false);
        }

        return buffer[..count];
    }

    private static Exception Refusal(string path, int error) => error switch
    {
        ENOENT or ENOTDIR => new FileNotFoundException($"Could not find file '{path}'.", path),
        EACCES or EPERM => new UnauthorizedAccessException($"Access to the path '{path}' is denied."),
        EAGAIN => new IOException($"'{path}' is held by another program (a lease)."),
        _ => new IOException($"'{path}': {Marshal.GetPInvokeErrorMessage(error)}."),
    };

    // The one system call outside of EdgeMesh.Linux: this room sees no other, and the runtime opens no file without waiting.
    [LibraryImport("libc", EntryPoint = "open", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static partial int open(string path, int flags, uint mode);
}
