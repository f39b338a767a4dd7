using System.Collections.Immutable;
using System.ComponentModel;
using System.Diagnostics;
using System.Globalization;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Text;
using EdgeMesh.Kubernetes.Yaml;

namespace EdgeMesh.Kubernetes.Access;

/// <summary>What <c>exec</c> of a kubeconfig's user says: a program that prints credentials.</summary>
internal sealed record ExecCommand
{
    /// <summary>A name for PATH, or an absolute path.</summary>
    public required string Program { get; init; }

    public ImmutableArray<string> Arguments { get; init; } = [];

    public ImmutableArray<(string Name, string Value)> Environment { get; init; } = [];

    public required string ApiVersion { get; init; }

    /// <summary>How to get the program, for who misses it.</summary>
    public string InstallHint { get; init; } = "";

    /// <summary>The cluster as the program is told of it, a JSON object; null: it did not ask.</summary>
    public string? ClusterInfo { get; init; }

    /// <summary>The kubeconfig, for messages.</summary>
    public required string Origin { get; init; }
}

/// <summary>What such a program printed.</summary>
/// <param name="Token">A secret; null: it gave none.</param>
/// <param name="Lasts">For how long it may be used; null: until it is refused.</param>
internal sealed record ExecCredential(string? Token, X509Certificate2? Certificate, TimeSpan? Lasts);

/// <summary>Credentials of a program (client.authentication.k8s.io): run when there are none, when they have expired, and when the
/// server refuses them. It gets a bounded time, and what it prints is bounded.</summary>
internal sealed class ExecPlugin(ExecCommand command, TimeProvider time)
{
    public const string Group = "client.authentication.k8s.io/";

    private const int LargestOutput = 1 << 20;
    private const int LargestComplaint = 4096;

    private static readonly TimeSpan Deadline = TimeSpan.FromSeconds(30);

    /// <summary>Credentials that have expired when they come (a clock that is wrong, a program that keeps old ones) are used all the
    /// same for so long: the server is who judges them.</summary>
    private static readonly TimeSpan AtLeast = TimeSpan.FromSeconds(10);

    private readonly Lock _gate = new();
    private volatile ExecCredential? _last;
    private long _came;
    private Task<ExecCredential>? _running;

    /// <summary>The certificate that it last gave; null: none.</summary>
    public X509Certificate2? Certificate => _last?.Certificate;

    /// <param name="refused">What the server did not accept; null: nothing.</param>
    /// <exception cref="ApiAccessException">It gives none: the message has the first line of its complaint.</exception>
    public async Task<ExecCredential> GetAsync(ExecCredential? refused, CancellationToken cancellationToken)
    {
        Task<ExecCredential> running;
        lock (_gate)
        {
            if (_last is { } last && !ReferenceEquals(last, refused) && !(time.GetElapsedTime(_came) >= last.Lasts))
            {
                return last;
            }

            // Who asks meanwhile waits for the same run.
            running = _running is { IsCompleted: false } under ? under : _running = RefreshAsync(cancellationToken);
        }

        return await running.WaitAsync(cancellationToken);
    }

    private async Task<ExecCredential> RefreshAsync(CancellationToken cancellationToken)
    {
        // Not under the caller's lock.
        await Task.Yield();
        var fresh = Parse(await RunAsync(cancellationToken), time.GetUtcNow());
        lock (_gate)
        {
            _came = time.GetTimestamp();
            return _last = fresh;
        }
    }

    /// <exception cref="ApiAccessException"/>
    internal ExecCredential Parse(string output, DateTimeOffset now)
    {
        YamlValue printed;
        try
        {
            printed = JsonTree.Parse(output);
        }
        catch (YamlFaultException e)
        {
            throw Fault("printed something that is no ExecCredential in JSON", e);
        }

        if (printed is not YamlMapping root || Text(root, "kind") != "ExecCredential" || Text(root, "apiVersion") != command.ApiVersion)
        {
            throw Fault($"printed something that is no ExecCredential of {command.ApiVersion}");
        }

        var status = root["status"] as YamlMapping ?? throw Fault("printed an ExecCredential without a status");
        var token = Text(status, "token");
        var (certificate, key) = (Text(status, "clientCertificateData"), Text(status, "clientKeyData"));
        if ((token.Length == 0 && certificate.Length == 0) || certificate.Length == 0 != (key.Length == 0))
        {
            throw Fault("gives neither a token nor a client certificate with its key");
        }

        if (token.Any(c => char.IsControl(c) || !char.IsAscii(c)))
        {
            throw Fault("gives a token that holds more than a token");
        }

        return new(token.Length > 0 ? token : null, certificate.Length > 0 ? Pem(certificate, key) : null, Lasts(Text(status, "expirationTimestamp"), now));
    }

    private TimeSpan? Lasts(string until, DateTimeOffset now)
    {
        if (until.Length == 0)
        {
            return null;
        }

        if (!DateTimeOffset.TryParse(until, CultureInfo.InvariantCulture, DateTimeStyles.AssumeUniversal, out var ends))
        {
            throw Fault("gives an expirationTimestamp that is no time");
        }

        var lasts = ends - now;
        return lasts > AtLeast ? lasts : AtLeast;
    }

    private X509Certificate2 Pem(string certificate, string key)
    {
        try
        {
            return X509Certificate2.CreateFromPem(certificate, key);
        }
        catch (Exception e) when (e is CryptographicException or ArgumentException)
        {
            throw Fault("gives a client certificate that cannot be used", e);
        }
    }

    private async Task<string> RunAsync(CancellationToken cancellationToken)
    {
        using var process = Start();
        using var deadline = new CancellationTokenSource(Deadline, time);
        using var either = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken, deadline.Token);
        try
        {
            process.StandardInput.Close();
            var output = ReadAsync(process.StandardOutput, LargestOutput, either.Token);
            var complaint = ReadAsync(process.StandardError, LargestComplaint, either.Token);
            var (printed, said) = (await output, await complaint);
            await process.WaitForExitAsync(either.Token);
            if (process.ExitCode != 0)
            {
                throw Fault($"ended with status {process.ExitCode}{FirstLine(said)}");
            }

            return printed.Length <= LargestOutput ? printed : throw Fault($"printed more than {LargestOutput >> 10} KB");
        }
        catch (OperationCanceledException) when (!cancellationToken.IsCancellationRequested)
        {
            throw Fault($"did not end within {Deadline.TotalSeconds:0} s and was killed");
        }
        finally
        {
            Kill(process);
        }
    }

    private Process Start()
    {
        var start = new ProcessStartInfo(command.Program)
        {
            UseShellExecute = false,
            RedirectStandardInput = true,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
        };
        foreach (var argument in command.Arguments)
        {
            start.ArgumentList.Add(argument);
        }

        foreach (var (name, value) in command.Environment)
        {
            start.Environment[name] = value;
        }

        var cluster = command.ClusterInfo is { } info ? $",\"cluster\":{info}" : "";
        start.Environment["KUBERNETES_EXEC_INFO"] = $$$"""{"apiVersion":"{{{command.ApiVersion}}}","kind":"ExecCredential","spec":{"interactive":false{{{cluster}}}}}""";
        var process = new Process { StartInfo = start };
        try
        {
            process.Start();
            return process;
        }
        catch (Exception e) when (e is Win32Exception or InvalidOperationException)
        {
            process.Dispose();
            throw Fault($"cannot be started ({e.Message}){(command.InstallHint.Length > 0 ? $"; the kubeconfig says: {OneLine(command.InstallHint)}" : "")}", e);
        }
    }

    /// <summary>Up to one character more than there may be; the rest is read and forgotten, so that the program can end.</summary>
    private static async Task<string> ReadAsync(StreamReader reader, int largest, CancellationToken cancellationToken)
    {
        var text = new StringBuilder();
        var buffer = new char[4096];
        int count;
        while ((count = await reader.ReadAsync(buffer, cancellationToken)) > 0)
        {
            text.Append(buffer, 0, Math.Min(count, largest + 1 - text.Length));
        }

        return text.ToString();
    }

    private static void Kill(Process process)
    {
        try
        {
            if (!process.HasExited)
            {
                process.Kill(entireProcessTree: true);
            }
        }
        catch (Exception e) when (e is InvalidOperationException or Win32Exception)
        {
            // It ended by itself meanwhile.
        }
    }

    private static string FirstLine(string said) =>
        said.Split('\n').Select(line => line.Trim()).FirstOrDefault(line => line.Length > 0) is { } line ? $" and said: {OneLine(line)}" : "";

    private static string OneLine(string text) => Watching.ApiClient.OneLine(text);

    private static string Text(YamlMapping from, string key) => from[key] is YamlScalar { IsNull: false, Text: var text } ? text : "";

    private ApiAccessException Fault(string what, Exception? inner = null) => new($"the exec program {command.Program} of kubeconfig {command.Origin} {what}", inner);
}
