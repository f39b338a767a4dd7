using System.CommandLine;
using EdgeMesh.Agent.Options;

namespace EdgeMesh.Agent.Commands;

/// <summary>Options that several commands have.</summary>
internal static class SharedOptions
{
    public static Option<string?> ConfigFilePath() => new("--config-file")
    {
        Description = $"The configuration file [default: {ConfigFile.DefaultPath}]",
        HelpName = "FILE",
    };

    public static Option<string?> AdminAddress() => new("--admin-address")
    {
        Description = "Where the running agent answers, as address:port or path of a socket [default: what commonConfig of the configuration file says]",
        HelpName = "ADDRESS",
    };

    public static Option<string> Format()
    {
        var format = new Option<string>("--output", "-o")
        {
            Description = "table for people, json for programs",
            HelpName = "table|json",
            DefaultValueFactory = _ => "table",
        };
        format.AcceptOnlyFromAmong("table", "json");
        return format;
    }

    public static StatusFormat FormatOf(ParseResult line, Option<string> format) => line.GetValue(format) == "json" ? StatusFormat.Json : StatusFormat.Table;
}
