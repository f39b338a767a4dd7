using System.Reflection;
using System.Runtime.ExceptionServices;
using System.Runtime.InteropServices;
using EdgeMesh.Catalog;
using EdgeMesh.Net;
using EdgeMesh.Netfilter;
using Microsoft.Extensions.Logging;
using Xunit;
using Xunit.Sdk;
using Xunit.v3;

namespace EdgeMesh.Tests;

/// <summary>Runs every test of this program, one after the other, and sums up as xunit does. xunit's own runner makes types at run time,
/// which a native program cannot.</summary>
internal static class Runner
{
    private static int _total;
    private static int _failed;

    private static async Task<int> Main()
    {
        KeepTrackers();
        foreach (var type in Assembly.GetExecutingAssembly().GetTypes().Where(t => t is { IsClass: true, IsAbstract: false, ContainsGenericParameters: false }).OrderBy(t => t.FullName, StringComparer.Ordinal))
        {
            foreach (var method in type.GetMethods(BindingFlags.Public | BindingFlags.Instance | BindingFlags.Static))
            {
                if (method.GetCustomAttributes().OfType<IFactAttribute>().Any())
                    await RunAsync(type, method);
            }
        }

        Console.WriteLine($"   {RuntimeInformation.ProcessArchitecture}  Total: {_total}, Errors: 0, Failed: {_failed}, Skipped: 0, Not Run: 0");
        return _failed == 0 && _total > 0 ? 0 : 1;
    }

    /// <summary>How xunit's assertions show collections of values, which they make at run time; see also Kept.rd.xml.</summary>
    private static void KeepTrackers()
    {
        _ = CollectionTrackerExtensions.AsTracker(Enumerable.Empty<bool>());
        _ = CollectionTrackerExtensions.AsTracker(Enumerable.Empty<int>());
        _ = CollectionTrackerExtensions.AsTracker(Enumerable.Empty<Handling>());
        _ = CollectionTrackerExtensions.AsTracker(Enumerable.Empty<LogLevel>());
        _ = CollectionTrackerExtensions.AsTracker(Enumerable.Empty<KeyValuePair<IpFamily, NetfilterException>>());
    }

    private static async Task RunAsync(Type type, MethodInfo method)
    {
        foreach (var arguments in await ArgumentsAsync(method))
        {
            _total++;
            try
            {
                await RunAsync(type, method, arguments);
            }
            catch (Exception e)
            {
                _failed++;
                Console.WriteLine($"{type.FullName}.{method.Name}({string.Join(", ", arguments)}) [FAIL]\n{e}");
            }
        }
    }

    private static async Task RunAsync(Type type, MethodInfo method, object?[] arguments)
    {
        var instance = method.IsStatic ? null : Activator.CreateInstance(type);
        if (instance is IAsyncLifetime begun)
            await begun.InitializeAsync();
        try
        {
            switch (Invoke(method, instance, arguments))
            {
                case Task task:
                    await task;
                    break;
                case ValueTask task:
                    await task;
                    break;
            }
        }
        finally
        {
            if (instance is IAsyncDisposable ended)
                await ended.DisposeAsync();
            else
                (instance as IDisposable)?.Dispose();
        }
    }

    private static object? Invoke(MethodInfo method, object? instance, object?[] arguments)
    {
        try
        {
            return method.Invoke(instance, arguments);
        }
        catch (TargetInvocationException e) when (e.InnerException is not null)
        {
            ExceptionDispatchInfo.Throw(e.InnerException);
            throw;
        }
    }

    /// <returns>One set of arguments for a fact, those of its data for a theory.</returns>
    private static async Task<List<object?[]>> ArgumentsAsync(MethodInfo method)
    {
        var sources = method.GetCustomAttributes().OfType<IDataAttribute>().ToList();
        if (sources.Count == 0)
            return [[]];
        var rows = new List<object?[]>();
        await using var disposals = new DisposalTracker();
        foreach (var source in sources)
        {
            foreach (var row in await source.GetData(method, disposals))
                rows.Add(Complete(row.GetData(), method.GetParameters()));
        }

        return rows;
    }

    /// <summary>What a theory's data leaves out has a default; a params array is its last arguments.</summary>
    private static object?[] Complete(object?[] given, ParameterInfo[] parameters)
    {
        if (parameters is [.., var last] && last.IsDefined(typeof(ParamArrayAttribute)) && (given.Length != parameters.Length || given[^1]?.GetType() != last.ParameterType))
        {
            var rest = Array.CreateInstance(last.ParameterType.GetElementType()!, given.Length - parameters.Length + 1);
            Array.Copy(given, parameters.Length - 1, rest, 0, rest.Length);
            return [.. given[..(parameters.Length - 1)], rest];
        }

        return [.. given, .. parameters[given.Length..].Select(parameter => parameter.DefaultValue)];
    }
}
