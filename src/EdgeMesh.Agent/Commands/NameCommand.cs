using System.CommandLine;
using System.Net;
using System.Text.Json;
using EdgeMesh.Agent.Admin;
using EdgeMesh.Agent.Options;

namespace EdgeMesh.Agent.Commands;

internal sealed record NameArguments
{
    public required string Name { get; init; }

    /// <summary>A, AAAA, SRV … or a number.</summary>
    public required string Type { get; init; }

    /// <inheritdoc cref="StatusArguments.AdminAddress"/>
    public required string? AdminAddress { get; init; }

    public required string ConfigFilePath { get; init; }

    public required StatusFormat Format { get; init; }

    public required TextWriter Output { get; init; }

    public required TextWriter Error { get; init; }
}

/// <summary><c>edgemesh-agent dns</c>: asks the running agent for a name, as a pod of this node would, and says why the answer is so.</summary>
internal static class NameCommand
{
    private const int LargestAnswer = 1 << 20;

    /// <summary>Upstreams have less.</summary>
    private static readonly TimeSpan Deadline = TimeSpan.FromSeconds(15);

    public static Command Build(Func<NameArguments, CancellationToken, Task<int>> handler)
    {
        var name = new Argument<string>("name") { Description = "The whole name, like web.shop.svc.cluster.local; search lists are a matter of pods" };
        var type = new Argument<string>("type") { Description = "A, AAAA, SRV, TXT, PTR …, or a number", DefaultValueFactory = _ => "A" };
        var format = SharedOptions.Format();
        var address = SharedOptions.AdminAddress();
        var configFile = SharedOptions.ConfigFilePath();
        var command = new Command("dns", "Ask the running agent for a name, and why it answers so; exit 0 if the name exists") { name, type, format, address, configFile };
        command.SetAction((line, cancellationToken) => handler(
            new NameArguments
            {
                Name = line.GetValue(name)!,
                Type = line.GetValue(type)!,
                Format = SharedOptions.FormatOf(line, format),
                AdminAddress = line.GetValue(address),
                ConfigFilePath = line.GetValue(configFile) ?? ConfigFile.DefaultPath,
                Output = line.InvocationConfiguration.Output,
                Error = line.InvocationConfiguration.Error,
            },
            cancellationToken));
        return command;
    }

    public static async Task<int> RunAsync(NameArguments arguments, CancellationToken cancellationToken)
    {
        var path = $"dns?name={Uri.EscapeDataString(arguments.Name)}&type={Uri.EscapeDataString(arguments.Type)}";
        var (answer, failed) = await AdminClient.AskAsync(path, arguments.AdminAddress, arguments.ConfigFilePath, Deadline, LargestAnswer, arguments.Error, cancellationToken);
        if (answer is null)
            return failed;
        var status = answer.Status == HttpStatusCode.OK ? Read(answer.Body) : null;
        if (status is null)
        {
            await arguments.Error.WriteLineAsync($"error: {PlainText.Lines(answer.Body).TrimEnd()}");
            return ExitCodes.Failure;
        }

        if (arguments.Format == StatusFormat.Json)
        {
            await arguments.Output.WriteLineAsync(PlainText.Lines(answer.Body));
        }
        else
        {
            foreach (var record in status.Records)
                await arguments.Output.WriteLineAsync(PlainText.Of(record));
            await arguments.Output.WriteLineAsync($"{status.Code} from {status.Source}: {PlainText.Of(status.Reason)}");
        }

        return status.Code == "NOERROR" ? ExitCodes.Ok : ExitCodes.Failure;
    }

    private static NameStatus? Read(string body)
    {
        try
        {
            return JsonSerializer.Deserialize(body, StatusJson.Default.NameStatus);
        }
        catch (JsonException)
        {
            return null;
        }
    }
}
