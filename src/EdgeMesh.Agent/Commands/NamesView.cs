using EdgeMesh.Agent.Admin;
using Spectre.Console;

namespace EdgeMesh.Agent.Commands;

/// <summary>Shows the name server to a person: what it answers, and whom it asks.</summary>
internal static class NamesView
{
    public static void AddFacts(Grid facts, NamesStatus names)
    {
        var answers = string.Join(", ", names.Answers.Where(answer => answer.Value > 0).OrderByDescending(answer => answer.Value).Select(answer => $"{answer.Value} {answer.Key}"));
        var what = names.Domains.IsEmpty ? $"answers of the cluster's DNS, {names.CacheEntries} kept"
            : names.HasFacts ? $"{names.Services} services of {string.Join(", ", names.Domains)}"
            : $"{string.Join(", ", names.Domains)}, but services have not been listed yet";
        facts.AddRow("Names", names.Listening.IsEmpty
            ? "[red]not answered; a notice says why[/]"
            : Shown.Text($"{string.Join(", ", names.Listening)}: {what}; {names.Requests} questions{(answers.Length > 0 ? $": {answers}" : "")}"));
        foreach (var upstream in names.Upstreams)
        {
            var text = Shown.Text($"asks {upstream.Address}: {upstream.Sent} questions, {upstream.Failed} without an answer"
                + (upstream.RoundTripMilliseconds is { } trip ? string.Create(System.Globalization.CultureInfo.InvariantCulture, $", {trip:F1} ms") : ""));
            facts.AddRow("", upstream.Healthy ? text : $"[yellow]{text}; it does not answer now[/]");
        }
    }
}
