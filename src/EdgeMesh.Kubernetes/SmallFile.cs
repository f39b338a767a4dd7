namespace EdgeMesh.Kubernetes;

/// <summary>How every file is read that a person or another program put there: nothing that stands under its name holds up the
/// reader. Opening a pipe waits for its other end, without a deadline and deaf to cancellation; a device may have no end.</summary>
public static class SmallFile
{
    private const int FirstRead = 4096;

    /// <summary>What has no length is not opened, since pipes, sockets and devices have none, and an empty file has nothing to read.
    /// Null: it is one of these.</summary>
    /// <exception cref="IOException">There is none (then <see cref="FileNotFoundException"/> or <see cref="DirectoryNotFoundException"/>),
    /// it is a folder, or its links go round in a circle.</exception>
    /// <exception cref="UnauthorizedAccessException">This process may not read it.</exception>
    public static FileStream? Open(string path, bool asynchronous = false)
    {
        if (Directory.Exists(path))
            throw new IOException($"'{path}' is a folder.");
        // The length of a link is that of its text.
        var target = File.ResolveLinkTarget(path, returnFinalTarget: true)?.FullName ?? path;
        if (new FileInfo(target) is { Exists: true, Length: 0 })
            return null;
        return new FileStream(path, FileMode.Open, FileAccess.Read, FileShare.ReadWrite | FileShare.Delete, FirstRead, asynchronous);
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
}
