using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Text;

namespace EdgeMesh.Kubernetes.Access;

/// <summary>PEM text that a setting gives directly or by file. A file may be replaced while the agent runs.</summary>
/// <param name="Setting">The setting that names it, for messages.</param>
internal sealed record PemSource(string? File, byte[]? Data, string Setting)
{
    private const int Largest = 1 << 20;

    public string Describe => File ?? Setting;

    /// <exception cref="ApiAccessException"/>
    public string Read() => Encoding.UTF8.GetString(Data ?? AccessFiles.Read(File!, "file", Setting, Largest));
}

internal static class AccessFiles
{
    /// <exception cref="ApiAccessException">Names the file, the setting that points at it, and what to do.</exception>
    public static byte[] Read(string path, string what, string setting, int largest)
    {
        try
        {
            var bytes = SmallFile.Read(path, largest);
            if (bytes.Length > largest)
            {
                throw new ApiAccessException($"{what} {path} ({setting}) is larger than {largest >> 10} KB: this cannot be the right file");
            }

            return bytes.Length > 0 ? bytes : throw new ApiAccessException($"{what} {path} ({setting}) is empty, or no file: correct it or the setting");
        }
        catch (Exception e) when (e is FileNotFoundException or DirectoryNotFoundException)
        {
            throw new ApiAccessException($"{what} {path} ({setting}) does not exist: create it or correct the setting", e);
        }
        catch (UnauthorizedAccessException e)
        {
            throw new ApiAccessException($"{what} {path} ({setting}) may not be read by this process: correct its owner and mode (it should be a file of mode 0600 of the agent's user)", e);
        }
        catch (IOException e)
        {
            throw new ApiAccessException($"{what} {path} ({setting}) cannot be read: {e.Message}", e);
        }
    }

    /// <summary>Changes when the file does. Kubernetes puts Secrets and ConfigMaps behind links of which only one in the middle is
    /// replaced, so that the last one counts.</summary>
    public static (DateTime Written, long Length) Stamp(string path)
    {
        try
        {
            var file = new FileInfo(File.ResolveLinkTarget(path, returnFinalTarget: true)?.FullName ?? path);
            return file.Exists ? (file.LastWriteTimeUtc, file.Length) : default;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            // Reading it will say so.
            return default;
        }
    }

    /// <returns>A warning when users other than owner and group may read a secret; null when all is well.</returns>
    public static string? SecretWarning(string what, string? path)
    {
        try
        {
            if (path is not null && File.Exists(path) && File.GetUnixFileMode(path) is var mode && (mode & (UnixFileMode.OtherRead | UnixFileMode.OtherWrite)) != UnixFileMode.None)
            {
                return $"{what} {path} is open to every user of this machine (mode {Convert.ToString((int)mode, 8).PadLeft(4, '0')}): run 'chmod 600 {path}'";
            }
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            // Reading the file itself will say so.
        }

        return null;
    }

    /// <exception cref="ApiAccessException"/>
    public static X509Certificate2Collection Roots(PemSource source)
    {
        var roots = new X509Certificate2Collection();
        try
        {
            roots.ImportFromPem(source.Read());
        }
        catch (CryptographicException e)
        {
            throw new ApiAccessException($"{source.Describe} ({source.Setting}) is not a PEM certificate: {e.Message}", e);
        }

        return roots.Count > 0 ? roots : throw new ApiAccessException($"{source.Describe} ({source.Setting}) holds no PEM certificate: give the CA that signed the server's certificate");
    }

    /// <exception cref="ApiAccessException"/>
    public static X509Certificate2 Certificate(PemSource certificate, PemSource key)
    {
        try
        {
            return X509Certificate2.CreateFromPem(certificate.Read(), key.Read());
        }
        catch (Exception e) when (e is CryptographicException or ArgumentException)
        {
            throw new ApiAccessException($"{certificate.Describe} and {key.Describe} are not a PEM certificate and its private key: {e.Message}", e);
        }
    }
}
