using EdgeMesh.Agent.Hosting;
using EdgeMesh.Testing;
using Microsoft.Extensions.Logging;
using Xunit;

namespace EdgeMesh.Tests.Hosting;

public sealed class DirectChangesTests
{
    [Fact]
    public void WhatTheKernelRefusesIsCountedAndSaidOnce()
    {
        const int NotSupported = 95;
        var log = new CollectingLogger<DirectChanges>();
        var answer = 0;
        using var changes = new DirectChanges((_, _) => answer, log);

        Assert.Equal(0, changes.Send([], 1));
        answer = NotSupported;
        Assert.Equal(NotSupported, changes.Send([], 2));
        Assert.Equal(NotSupported, changes.Send([], 3));

        Assert.Equal((1, 2), (changes.Applied, changes.Refused));
        var line = Assert.Single(log.Lines);
        Assert.Equal(LogLevel.Warning, line.Level);
        Assert.Contains("errno 95", line.Text, StringComparison.Ordinal);
    }
}
