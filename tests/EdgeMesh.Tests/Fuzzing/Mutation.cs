namespace EdgeMesh.Tests.Fuzzing;

/// <summary>Makes an input that is nearly another one.</summary>
internal static class Mutation
{
    private static readonly byte[][] Lengths =
    [
        [0xff, 0xff, 0xff, 0xff], [0, 0, 0, 0], [0x7f, 0xff, 0xff, 0xff], [0x80, 0, 0, 0],
        [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f], [0xff, 0xff, 0xff, 0xff, 0x0f], [0x80, 0x80, 0x80, 0x80, 0x08],
    ];

    public static byte[] Of(byte[] seed, IReadOnlyList<byte[]> corpus, FuzzTarget target, Random random)
    {
        var bytes = new List<byte>(seed);
        for (var rounds = 1 << random.Next(0, 5); rounds > 0; rounds--)
        {
            if (bytes.Count == 0)
                bytes.Add((byte)random.Next(256));
            Change(bytes, corpus, target.Words, random);
            if (bytes.Count > target.LongestInput)
                bytes.RemoveRange(target.LongestInput, bytes.Count - target.LongestInput);
        }

        return [.. bytes];
    }

    private static void Change(List<byte> bytes, IReadOnlyList<byte[]> corpus, byte[][] words, Random random)
    {
        var at = random.Next(bytes.Count);
        switch (random.Next(12))
        {
            case 0:
                bytes[at] = (byte)random.Next(256);
                break;
            case 1:
                bytes[at] ^= (byte)(1 << random.Next(8));
                break;
            case 2:
                bytes.RemoveRange(at, Math.Min(bytes.Count - at, 1 + random.Next(8)));
                break;
            case 3:
                var noise = new byte[1 + random.Next(8)];
                random.NextBytes(noise);
                bytes.InsertRange(at, noise);
                break;
            case 4:
                bytes.InsertRange(random.Next(bytes.Count + 1), bytes.GetRange(at, Math.Min(bytes.Count - at, 1 + random.Next(64))));
                break;
            case 5:
                var other = corpus[random.Next(corpus.Count)];
                var from = random.Next(other.Length + 1);
                bytes.InsertRange(at, other[from..Math.Min(other.Length, from + 1 + random.Next(128))]);
                break;
            case 6 when random.Next(4) == 0:
                bytes.RemoveRange(at, bytes.Count - at);
                break;
            case 7:
                Overwrite(bytes, at, Lengths[random.Next(Lengths.Length)]);
                break;
            case 8 or 9 when words.Length > 0:
                bytes.InsertRange(random.Next(bytes.Count + 1), words[random.Next(words.Length)]);
                break;
            case 10 when words.Length > 0:
                Overwrite(bytes, at, words[random.Next(words.Length)]);
                break;
            default:
                bytes[at] = (byte)(bytes[at] + random.Next(-3, 4));
                break;
        }
    }

    private static void Overwrite(List<byte> bytes, int at, byte[] with)
    {
        for (var i = 0; i < with.Length && at + i < bytes.Count; i++)
            bytes[at + i] = with[i];
    }
}
