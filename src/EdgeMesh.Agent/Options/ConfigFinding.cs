using EdgeMesh.Kubernetes.Yaml;

namespace EdgeMesh.Agent.Options;

/// <summary>Something to tell a person about a configuration file: where, what, and what to do.</summary>
/// <param name="Line">1-based; 0 where the finding is about the file as a whole.</param>
/// <param name="Path">The key, <c>modules.edgeProxy.listenPort</c>; empty where no key is meant.</param>
internal sealed record ConfigFinding(string File, int Line, int Column, string Path, string What, string Remedy)
{
    public override string ToString()
    {
        var place = Line > 0 ? $"{File}:{Line}:{Column}" : File;
        var key = Path.Length > 0 ? $" {Path}:" : "";
        var remedy = Remedy.Length > 0 ? $"; {Remedy}" : "";
        return PlainText.Of($"{place}:{key} {What}{remedy}");
    }
}

/// <summary>Collects every finding of one file. Bounded, since a file of a million faults is one fault to a person.</summary>
internal sealed class FindingList(string file)
{
    public const int Limit = 100;

    private readonly List<ConfigFinding> _faults = [];
    private readonly List<ConfigFinding> _warnings = [];
    private int _unshown;

    /// <summary>Further faults are counted only; no need to think about their remedy.</summary>
    public bool IsFull => _faults.Count >= Limit;

    public bool HasFaults => _faults.Count > 0;

    public void Fault(YamlMark mark, string path, string what, string remedy)
    {
        if (_faults.Count < Limit)
            _faults.Add(new ConfigFinding(file, mark.Line, mark.Column, path, what, remedy));
        else
            _unshown++;
    }

    public void Warn(YamlMark mark, string path, string what, string remedy)
    {
        if (_warnings.Count < Limit)
            _warnings.Add(new ConfigFinding(file, mark.Line, mark.Column, path, what, remedy));
    }

    public IReadOnlyList<ConfigFinding> Faults()
    {
        var sorted = _faults.OrderBy(f => f.Line).ThenBy(f => f.Column).ToList();
        if (_unshown > 0)
            sorted.Add(new ConfigFinding(file, 0, 0, "", $"{_unshown} more faults are not shown", "mend these first"));
        return sorted;
    }

    public IReadOnlyList<ConfigFinding> Warnings() => [.. _warnings.OrderBy(f => f.Line).ThenBy(f => f.Column)];
}
