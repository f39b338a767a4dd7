namespace EdgeMesh.Net;

/// <summary>An address family; the values are the kernel's AF_INET and AF_INET6, which are nf_tables' families too.</summary>
public enum IpFamily : byte
{
    IPv4 = 2,
    IPv6 = 10,
}
