using System.Text;
using EdgeMesh.Catalog;
using EdgeMesh.Planning;

namespace EdgeMesh.Testing.Portals;

/// <summary>A plan as text for people and golden files: one line per service port and address, one line per service that
/// is left alone, one line per fault.</summary>
public static class PlanText
{
    public static string Of(ForwardingPlan plan)
    {
        ArgumentNullException.ThrowIfNull(plan);
        var text = new StringBuilder();
        foreach (var (service, ports) in plan.Services)
        {
            if (service.Handling != Handling.Handled)
                text.Append($"{service.Name} left alone: {service.Handling}\n");
            foreach (var port in ports)
                Write(text, port);
            foreach (var fault in service.Faults)
                text.Append($"{service.Name} fault: {fault}\n");
        }

        return text.ToString();
    }

    private static void Write(StringBuilder text, PlannedPort planned)
    {
        var port = planned.Port;
        text.Append($"{port.Name} {planned.Address.Kind} {planned.CaughtAt.Endpoint} {port.Name.Protocol} {planned.Path} ({planned.Reason})");
        text.Append($" {port.Choice} [");
        text.AppendJoin(' ', port.Endpoints
            .Where(e => e.Address.Address.IsIPv6 == planned.Address.Address.IsIPv6)
            .Select(e => e.IsLocal ? $"{e.Address}(local)" : e.Address.ToString()));
        text.Append(']');
        if (port.ClientIPAffinity is { } affinity)
            text.Append($" affinity {affinity.TotalSeconds} s");
        text.Append('\n');
    }
}
