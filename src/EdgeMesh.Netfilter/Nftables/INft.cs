namespace EdgeMesh.Netfilter.Nftables;

/// <summary>The nft program, or something that behaves like it.</summary>
internal interface INft
{
    /// <summary>Applies the transaction, all of it or nothing.</summary>
    /// <param name="checkOnly">The kernel judges every command and then forgets them all.</param>
    Task<NftAnswer> RunAsync(NftTransaction transaction, bool checkOnly, CancellationToken cancellationToken) =>
        RunAsync(transaction, checkOnly, NftTransaction.Step.Table, NftTransaction.Step.DeleteSets, cancellationToken);

    /// <summary>As the other, for the steps from the one to the other only.</summary>
    Task<NftAnswer> RunAsync(NftTransaction transaction, bool checkOnly, NftTransaction.Step from, NftTransaction.Step to, CancellationToken cancellationToken);

    /// <summary>What <c>nft -nn list OBJECT</c> prints, for example for <c>table ip edgemesh</c>.</summary>
    Task<NftAnswer> ListAsync(string what, CancellationToken cancellationToken);
}

/// <param name="Error">What nft wrote to its error output; empty when it worked.</param>
internal readonly record struct NftAnswer(int ExitCode, string Output, string Error)
{
    public bool Worked => ExitCode == 0;

    public bool NotFound => Error.Contains("No such file or directory", StringComparison.Ordinal);

    /// <summary>How many commands found that their object is there already.</summary>
    public int AlreadyThere
    {
        get
        {
            var count = 0;
            for (var at = 0; (at = Error.IndexOf("File exists", at, StringComparison.Ordinal)) >= 0; at++)
                count++;
            return count;
        }
    }
}
