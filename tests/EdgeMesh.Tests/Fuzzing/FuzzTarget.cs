using System.Diagnostics;
using System.Text;

namespace EdgeMesh.Tests.Fuzzing;

/// <param name="Found">Inputs that met with an exception that is not declared, one for each kind.</param>
/// <param name="EdgesOfSeeds">Branches that the seeds led through; 0 where they are not counted.</param>
/// <param name="Edges">Branches that all inputs led through.</param>
internal sealed record FuzzResult(IReadOnlyCollection<string> Found, long Runs, int EdgesOfSeeds, int Edges);

/// <summary>One decoder, what it is fed with, and the only exceptions that it may throw.</summary>
internal sealed record FuzzTarget(string Name, byte[][] Seeds, Action<byte[]> Decode)
{
    private const int MostKept = 400;

    public Type[] Declared { get; init; } = [];

    /// <summary>Pieces that the decoder knows, put in whole.</summary>
    public byte[][] Words { get; init; } = [];

    public int LongestInput { get; init; } = 4096;

    /// <summary>Feeds the seeds as they are, then mutations of them and of what led further, for so long: what met with branches
    /// that nothing before it did, or, where these are not counted, some of what was accepted.</summary>
    public FuzzResult Run(TimeSpan time, int seed)
    {
        var found = new Dictionary<string, string>(StringComparer.Ordinal);
        var coverage = Coverage.Instance;
        var seen = Coverage.Nothing();
        var (runs, bySeeds, edges) = (0L, 0, 0);
        foreach (var input in Seeds)
            _ = Leads(input, 1);
        bySeeds = edges;
        var random = new Random(seed);
        var corpus = new List<byte[]>(Seeds);
        var started = Stopwatch.GetTimestamp();
        while (Stopwatch.GetElapsedTime(started) < time)
        {
            var input = Mutation.Of(corpus[random.Next(corpus.Count)], corpus, this, random);
            if (!Leads(input, random.Next(50)))
                continue;
            if (corpus.Count < MostKept)
                corpus.Add(input);
            else
                corpus[random.Next(Seeds.Length, corpus.Count)] = input;
        }

        return new FuzzResult(found.Values, runs, bySeeds, edges);

        bool Leads(byte[] input, int chance)
        {
            runs++;
            coverage?.Begin();
            var accepted = Try(input, found);
            if (coverage is null)
                return accepted && chance == 0;
            var (more, isNew) = coverage.AddTo(seen);
            edges += more;
            return isNew;
        }
    }

    /// <returns>True: accepted.</returns>
    private bool Try(byte[] input, Dictionary<string, string> found)
    {
        try
        {
            Decode(input);
            return true;
        }
        catch (Exception e) when (Declared.Any(d => d.IsInstanceOfType(e)))
        {
            return false;
        }
        catch (Exception e)
        {
            var where = (e.StackTrace ?? "").Split('\n').FirstOrDefault(l => l.Contains(" EdgeMesh.", StringComparison.Ordinal))?.Trim();
            found.TryAdd($"{e.GetType().Name} {where}", $"{Name}: {e.GetType().Name}: {e.Message} {where}; input (base64): {Convert.ToBase64String(input)}");
            return false;
        }
    }

    public static byte[] Text(string text) => Encoding.UTF8.GetBytes(text);

    public static byte[][] Split(string words, char separator) =>
        [.. words.Split(separator, StringSplitOptions.RemoveEmptyEntries).Select(Text)];
}
