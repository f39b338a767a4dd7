using System.CommandLine;
using EdgeMesh.Agent.Options;
using EdgeMesh.Catalog;

namespace EdgeMesh.Agent.Commands;

/// <summary><c>edgemesh-agent config default|minimal|check FILE</c>.</summary>
internal static class ConfigCommand
{
    public static Command Build(AgentEnvironment environment) =>
        new("config", "Write or check a configuration file") { Default(), Minimal(), Check(environment) };

    private static Command Default()
    {
        var command = new Command("default", "Write every key with its default and what it is for");
        command.SetAction((line, _) => WriteAsync(line, ConfigText.Default()));
        return command;
    }

    private static Command Minimal()
    {
        var command = new Command("minimal", "Write the few lines that most users need");
        command.SetAction((line, _) => WriteAsync(line, ConfigText.Minimal()));
        return command;
    }

    public static async Task<int> WriteAsync(ParseResult line, string text)
    {
        await line.InvocationConfiguration.Output.WriteAsync(text);
        return ExitCodes.Ok;
    }

    private static Command Check(AgentEnvironment environment)
    {
        var file = new Argument<string>("FILE") { Description = "The configuration file" };
        var command = new Command("check", "Tell every fault of a configuration file, and what the agent would do with it on this node") { file };
        command.SetAction(async (line, _) =>
        {
            var output = line.InvocationConfiguration.Output;
            var loaded = ConfigFile.Load(line.GetRequiredValue(file), environment, new ConfigOverrides());
            if (loaded.Options is not { } options)
            {
                await FindingsOutput.WriteFaultsAsync(output, loaded);
                return ExitCodes.Usage;
            }

            await FindingsOutput.WriteWarningsAsync(output, loaded);
            await output.WriteLineAsync($"{PlainText.Of(loaded.File)} is valid");
            await output.WriteLineAsync($"  node     {options.NodeName} ({(options.NodeKind == NodeKind.Cloud ? "cloud: KUBERNETES_PORT is set" : "edge: KUBERNETES_PORT is not set")})");
            await output.WriteLineAsync($"  source   {PlainText.Of(options.Source.Description)}");
            await output.WriteLineAsync($"  rules    backend {loaded.Config!.TextOf(EdgeProxyKeys.Backend)}, chains {loaded.Config.TextOf(EdgeProxyKeys.Prefix)}-PORTALS-CONTAINER and -HOST");
            await output.WriteLineAsync($"  handles  {Handled(options.Proxy)}");
            await output.WriteLineAsync($"  tunnel   {PlainText.Of(Tunnel(options))}");
            return ExitCodes.Ok;
        });
        return command;
    }

    private static string Tunnel(AgentOptions options)
    {
        var tunnel = options.Tunnel;
        if (!tunnel.Enable)
            return "none";
        var relays = tunnel.RelayNodes.IsEmpty ? "no relay" : $"relays {string.Join(", ", tunnel.RelayNodes.Select(relay => relay.NodeName))}";
        var self = tunnel.RelayNodes.Any(relay => relay.NodeName == options.NodeName) ? " (this node is one)" : "";
        return $"TCP port {tunnel.ListenPort}, {relays}{self}, PSK {tunnel.PskPath}";
    }

    private static string Handled(EdgeProxyOptions proxy)
    {
        if (!proxy.Enable)
            return "no service (modules.edgeProxy.enable is false)";
        var which = proxy.FilterMode == ServiceFilterMode.FilterIfLabelExists ? "services without the filter label" : "services with the filter label";
        return proxy.ExcludeServices.Length == 0 ? which : $"{which}, except {string.Join(", ", proxy.ExcludeServices)}";
    }
}
