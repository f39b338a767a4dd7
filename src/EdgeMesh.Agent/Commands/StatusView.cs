using System.Globalization;
using EdgeMesh.Agent.Admin;
using Spectre.Console;

namespace EdgeMesh.Agent.Commands;

/// <summary>Shows a status document to a person: first what is wrong, then who says what, then the services.</summary>
internal static class StatusView
{
    public static void Write(IAnsiConsole console, StatusDocument status, DateTimeOffset now)
    {
        var facts = new Grid().AddColumn(new GridColumn().NoWrap()).AddColumn();
        facts.AddRow("Node", Shown.Text($"{status.Node.Name} ({(status.Node.Edge ? "edge" : "cloud")}), {status.Node.Phase} for {Age(now - status.Node.StartedAt)}, version {status.Version}"));
        foreach (var notice in status.Node.Notices)
            facts.AddRow("Notice", $"[yellow]{Shown.Text(notice)}[/]");
        facts.AddRow("Source", Shown.Text(status.Source.Description));
        foreach (var notice in status.Source.Notices)
            facts.AddRow("", $"[yellow]{Shown.Text(notice)}[/]");
        facts.AddRow("Facts", Freshness(status.Source, now));
        foreach (var kind in status.Source.Kinds.Where(k => k.Fault is not null))
            facts.AddRow("", $"[yellow]{Shown.Text($"{kind.Kind}: {kind.Fault}")}[/]");
        facts.AddRow("Rules", status.Rules.Enabled ? Rules(status.Rules, now) : "[yellow]none: modules.edgeProxy.enable is false, so every service is left to kube-proxy[/]");
        if (status.Rules.Enabled)
        {
            foreach (var jump in status.Rules.Jumps)
                facts.AddRow("", Jump(jump));
        }

        if (status.Rules is { DirectChanges: { } direct, DirectChangesRefused: { } refused } && direct + refused > 0)
            facts.AddRow("", refused == 0 ? $"{direct} changes without the nft program" : $"{direct} changes without the nft program, [yellow]{refused} refused by the kernel and carried by nft[/]");
        foreach (var repair in status.Rules.RecentRepairs)
            facts.AddRow("", Shown.Text($"repaired: {repair}"));
        var data = status.DataPath;
        facts.AddRow("Listener", Shown.Text(
            $"{data.Listener}: {data.ActiveConnections} connections now, {data.TotalConnections} in all; {data.ActiveFlows} UDP flows now, {data.TotalFlows} in all; {data.Refused} refused, {data.Shed} shed, {data.DialFailures} failed dials"));
        foreach (var family in status.Host.Where(family => family.Code != "Carries"))
            facts.AddRow("Host", Markup.Escape($"{family.Family}: {family.Code}: {family.Sentence}"));
        if (status.Names is { } names)
            NamesView.AddFacts(facts, names);
        if (status.Tunnel is { } tunnel)
            TunnelView.AddFacts(facts, tunnel);
        console.Write(facts);
        console.WriteLine();
        if (status.Tunnel is { Nodes.IsEmpty: false } mesh)
            console.Write(TunnelView.Nodes(mesh));
        console.Write(Services(status));
        var left = status.Services.Where(s => !s.Handled).ToList();
        if (left.Count > 0)
            console.Write(LeftAlone(left));
    }

    private static Table Services(StatusDocument status)
    {
        var table = new Table().Border(TableBorder.Simple).AddColumns("Handled service", "Address", "Path", "Endpoints", "Now", "Total");
        foreach (var service in status.Services.Where(s => s.Handled))
        {
            foreach (var port in service.Ports)
            {
                table.AddRow(
                    Shown.Text(port.Name),
                    Shown.Text($"{port.Address}/{port.Protocol}"),
                    Shown.Text($"{port.Path}: {port.Reason}"),
                    Shown.Text(Endpoints(port)),
                    port.ActiveConnections.ToString(CultureInfo.InvariantCulture),
                    port.TotalConnections.ToString(CultureInfo.InvariantCulture));
            }

            foreach (var fault in service.Faults)
                table.AddRow(Shown.Text(service.Name), "", $"[yellow]{Shown.Text(fault)}[/]", "", "", "");
        }

        if (table.Rows.Count == 0)
            table.AddRow("none", "", "", "", "", "");
        return table;
    }

    private static Table LeftAlone(List<ServiceStatus> left)
    {
        var table = new Table().Border(TableBorder.Simple).AddColumns("Left to kube-proxy", "Why");
        foreach (var service in left)
            table.AddRow(Shown.Text(service.Name), Shown.Text(string.Join("; ", [service.Reason ?? "", .. service.Faults])));
        return table;
    }

    private static string Endpoints(ServicePortStatus port)
    {
        const int shown = 3;
        var text = string.Join(", ", port.Ways is { } ways ? ways.Take(shown).Select(TunnelView.Way) : port.Endpoints.Take(shown));
        return port.Endpoints.Length > shown ? $"{text}, and {port.Endpoints.Length - shown} more"
            : port.Endpoints.IsEmpty ? "none" : text;
    }

    private static string Freshness(SourceStatus source, DateTimeOffset now) => source.Origin switch
    {
        "live" => Shown.Text($"live, last change {Age(now - source.AsOf!.Value)} ago"),
        "unreachable" or "offline" => $"[yellow]{Shown.Text($"{source.Stale}; last change {Age(now - source.AsOf!.Value)} ago")}[/]",
        "cache" => $"[yellow]{Shown.Text($"from the cache on disk, {Age(now - source.AsOf!.Value)} old: the source has not answered yet")}[/]",
        _ => "[yellow]none yet: services and endpoints have not both been listed[/]",
    };

    private static string Rules(RulesStatus rules, DateTimeOffset now)
    {
        var text = Shown.Text($"{rules.Backend} ({rules.Reason}), ");
        text += rules.InForce
            ? Shown.Text($"in force since {Age(now - rules.LastSync!.Value)}")
            : $"[red]{Shown.Text($"not in force: {rules.Fault ?? "nothing applied yet"}")}[/]";
        return rules.OrderRepairs == 0 ? text
            : text + Shown.Text($", repaired {rules.OrderRepairs} times, last {Age(now - rules.LastRepair!.Value)} ago");
    }

    private static string Jump(JumpStatus jump)
    {
        var place = jump.Position switch
        {
            0 => "[red]missing[/]",
            1 => "first",
            _ => $"[red]at {jump.Position}[/]",
        };
        return $"{Shown.Text($"{jump.Family} {jump.Hook} -> {jump.Chain}")}: {place} {Shown.Text(jump.Detail == "first" ? "" : jump.Detail)}".TrimEnd();
    }

    internal static string Age(TimeSpan age) => age switch
    {
        { TotalSeconds: < 120 } => $"{Math.Max(0, age.TotalSeconds):F0} s",
        { TotalMinutes: < 120 } => $"{age.TotalMinutes:F0} min",
        { TotalHours: < 48 } => $"{age.TotalHours:F0} h",
        _ => $"{age.TotalDays:F0} days",
    };
}
