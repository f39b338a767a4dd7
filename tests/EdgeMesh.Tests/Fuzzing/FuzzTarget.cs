using System.Diagnostics;
using System.Text;

namespace EdgeMesh.Tests.Fuzzing;

/// <summary>One decoder, what it is fed with, and the only exceptions that it may throw.</summary>
internal sealed record FuzzTarget(string Name, byte[][] Seeds, Action<byte[]> Decode)
{
    private const int MostKept = 400;

    public Type[] Declared { get; init; } = [];

    /// <summary>Pieces that the decoder knows, put in whole.</summary>
    public byte[][] Words { get; init; } = [];

    public int LongestInput { get; init; } = 4096;

    /// <summary>Feeds the seeds as they are, then mutations of them and of what was accepted, for so long.</summary>
    /// <returns>Inputs that met with an exception that is not declared, one for each kind.</returns>
    public IReadOnlyCollection<string> Run(TimeSpan time, int seed)
    {
        var found = new Dictionary<string, string>(StringComparer.Ordinal);
        foreach (var input in Seeds)
            Try(input, found);
        var random = new Random(seed);
        var corpus = new List<byte[]>(Seeds);
        var started = Stopwatch.GetTimestamp();
        while (Stopwatch.GetElapsedTime(started) < time)
        {
            var input = Mutation.Of(corpus[random.Next(corpus.Count)], corpus, this, random);
            // What was accepted goes deeper with the next mutation.
            if (Try(input, found) && random.Next(50) == 0)
            {
                if (corpus.Count < MostKept)
                    corpus.Add(input);
                else
                    corpus[random.Next(Seeds.Length, corpus.Count)] = input;
            }
        }

        return found.Values;
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
