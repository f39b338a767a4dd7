namespace EdgeMesh.Dns.Messages;

/// <summary>Types of record that this library has something to do with; any other number passes through as bytes (RFC 3597).</summary>
public enum RecordType : ushort
{
    None = 0,
    A = 1,
    NS = 2,
    CName = 5,
    Soa = 6,
    Ptr = 12,
    MX = 15,
    Txt = 16,
    Aaaa = 28,
    Srv = 33,
    DName = 39,
    Opt = 41,
    HInfo = 13,
    Https = 65,
    Ixfr = 251,
    Axfr = 252,
    MailB = 253,
    MailA = 254,
    Any = 255,
}

/// <summary>RFC 1035 4.1.1; beyond 15 only together with EDNS (RFC 6891).</summary>
public enum ResponseCode : ushort
{
    NoError = 0,
    FormatError = 1,
    ServerFailure = 2,
    NameError = 3,
    NotImplemented = 4,
    Refused = 5,
    BadVersion = 16,
}

/// <summary>Numbers of RFC 1035 and RFC 6891.</summary>
public static class DnsLimits
{
    public const int HeaderSize = 12;

    /// <summary>With the length bytes and the root.</summary>
    public const int MaxName = 255;

    public const int MaxLabel = 63;

    /// <summary>127 labels of one byte, and the root.</summary>
    public const int MaxLabels = 128;

    /// <summary>Of a name with its type and class.</summary>
    public const int MaxQuestion = MaxName + 4;

    public const int MaxMessage = 65_535;

    /// <summary>What every client takes by UDP.</summary>
    public const int PlainUdp = 512;

    /// <summary>What we send by UDP at most: it needs no fragment on any path (DNS flag day 2020).</summary>
    public const int LargestUdp = 1_232;

    /// <summary>An OPT record without options.</summary>
    public const int OptSize = 11;

    public const ushort ClassInternet = 1;
}
