using System.Net;
using System.Net.Sockets;

namespace EdgeMesh.Agent.Admin;

/// <summary>Where the agent answers probes, metrics and status: an address, or a unix socket that only its own user can reach.</summary>
internal abstract record AdminEndpoint
{
    private AdminEndpoint()
    {
    }

    /// <summary>The setting that names it, for messages.</summary>
    public abstract string Setting { get; }

    /// <param name="text">An address and port, or the absolute path of a socket.</param>
    /// <returns>Null: it is neither.</returns>
    public static AdminEndpoint? Parse(string text) =>
        text.StartsWith('/') ? new UnixSocket(text)
        : IPEndPoint.TryParse(text, out var address) && address.Port > 0 ? new Tcp(address)
        : null;

    /// <summary>A client that connects here whatever host its requests name.</summary>
    public HttpClient NewClient() => new(new SocketsHttpHandler { UseProxy = false, ConnectCallback = ConnectAsync }) { BaseAddress = Base };

    /// <summary>What a request to here names.</summary>
    protected abstract Uri Base { get; }

    protected abstract (Socket Socket, EndPoint Place) NewSocket();

    private async ValueTask<Stream> ConnectAsync(SocketsHttpConnectionContext context, CancellationToken cancellationToken)
    {
        var (socket, place) = NewSocket();
        try
        {
            await socket.ConnectAsync(place, cancellationToken);
            return new NetworkStream(socket, ownsSocket: true);
        }
        catch
        {
            socket.Dispose();
            throw;
        }
    }

    public sealed record Tcp(IPEndPoint Address) : AdminEndpoint
    {
        public override string Setting => "commonConfig.adminAddress";

        protected override Uri Base => new($"http://{Address}/");

        protected override (Socket Socket, EndPoint Place) NewSocket() => (new Socket(Address.AddressFamily, SocketType.Stream, ProtocolType.Tcp) { NoDelay = true }, Address);

        public override string ToString() => Address.ToString();
    }

    public sealed record UnixSocket(string Path) : AdminEndpoint
    {
        /// <summary>sun_path of unix(7), with the zero at its end.</summary>
        public const int LongestPath = 107;

        private const UnixFileMode OthersMayWrite = UnixFileMode.GroupWrite | UnixFileMode.OtherWrite;

        public override string Setting => "commonConfig.adminSocket";

        /// <summary>Makes the folder, which nobody else may enter, and removes the socket of an agent that was killed.</summary>
        /// <exception cref="IOException">Others could put something in its place, or a file stands there.</exception>
        /// <exception cref="UnauthorizedAccessException"/>
        public void Prepare()
        {
            var folder = System.IO.Path.GetDirectoryName(Path)!;
            if (!Directory.Exists(folder))
                Directory.CreateDirectory(folder, UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute);
            else if ((File.GetUnixFileMode(folder) & OthersMayWrite) != UnixFileMode.None)
                throw new IOException($"Others than the agent may write to the folder {folder}, and could answer in its place: give it one of its own.");
            if (new FileInfo(Path) is { Exists: true, Length: > 0 })
                throw new IOException($"{Path} is a file.");
            File.Delete(Path);
        }

        /// <summary>To everybody but this user. Before, the folder or the usual umask does so: to connect takes the right to write.</summary>
        public void Close() => File.SetUnixFileMode(Path, UnixFileMode.UserRead | UnixFileMode.UserWrite);

        protected override Uri Base => new("http://localhost/");

        protected override (Socket Socket, EndPoint Place) NewSocket() =>
            (new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified), new UnixDomainSocketEndPoint(Path));

        public override string ToString() => Path;
    }
}
