using System.Text;

namespace EdgeMesh.Kubernetes.Access;

/// <summary>A token that stands still, or one in a file that is rotated: the file is read again each minute and after a 401.</summary>
internal sealed class BearerToken(string? value, string? file, string setting, TimeProvider time)
{
    private const int LargestToken = 64 << 10;
    private static readonly TimeSpan Reread = TimeSpan.FromMinutes(1);

    private readonly Lock _gate = new();
    private string? _value = value;
    private long _read;

    /// <summary>Null: the last attempt to read the file failed and no earlier token is known.</summary>
    public string? Get(bool refused = false)
    {
        if (file is null)
        {
            return _value;
        }

        lock (_gate)
        {
            if (refused || _value is null || time.GetElapsedTime(_read) >= Reread)
            {
                _read = time.GetTimestamp();
                try
                {
                    _value = Read();
                }
                catch (ApiAccessException) when (_value is not null)
                {
                    // The old token may still be good; if it is not, the server's 401 says so.
                }
            }

            return _value;
        }
    }

    /// <exception cref="ApiAccessException"/>
    private string Read()
    {
        var text = Encoding.UTF8.GetString(AccessFiles.Read(file!, "token file", setting, LargestToken)).Trim();
        return text.Length > 0 && !text.Any(char.IsControl) && text.All(char.IsAscii)
            ? text
            : throw new ApiAccessException($"token file {file} ({setting}) is empty or holds more than a token");
    }
}
