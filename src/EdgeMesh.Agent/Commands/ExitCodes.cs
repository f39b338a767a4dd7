namespace EdgeMesh.Agent.Commands;

internal static class ExitCodes
{
    public const int Ok = 0;

    public const int Failure = 1;

    /// <summary>The command line or the configuration file is at fault; starting again without a change will not help.</summary>
    public const int Usage = 2;
}
