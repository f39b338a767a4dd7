using System.Text;

namespace EdgeMesh.Kubernetes.Access;

/// <summary>A token in a file that is rotated, its own or a kubeconfig: the file is read again each minute and after a 401.</summary>
/// <param name="read">Reads it now.</param>
internal sealed class BearerToken(Func<string> read, TimeProvider time)
{
    private const int LargestToken = 64 << 10;
    private static readonly TimeSpan Reread = TimeSpan.FromMinutes(1);

    private readonly Lock _gate = new();
    private string? _value;
    private long _read;

    /// <summary>Null: the last attempt to read the file failed and no earlier token is known.</summary>
    public string? Get(bool refused = false)
    {
        lock (_gate)
        {
            if (refused || _value is null || time.GetElapsedTime(_read) >= Reread)
            {
                _read = time.GetTimestamp();
                try
                {
                    _value = read();
                }
                catch (ApiAccessException) when (_value is not null)
                {
                    // The old token may still be good; if it is not, the server's 401 says so.
                }
            }

            return _value;
        }
    }

    public static BearerToken OfFile(string file, string setting, TimeProvider time) => new(() => Read(file, setting), time);

    /// <exception cref="ApiAccessException"/>
    private static string Read(string file, string setting)
    {
        var text = Encoding.UTF8.GetString(AccessFiles.Read(file, "token file", setting, LargestToken)).Trim();
        return text.Length > 0 && !text.Any(char.IsControl) && text.All(char.IsAscii)
            ? text
            : throw new ApiAccessException($"token file {file} ({setting}) is empty or holds more than a token");
    }
}
