using System.Collections.Immutable;
using EdgeMesh.Catalog;

namespace EdgeMesh.Planning;

/// <summary>The planned services in which two plans differ: as they were, and as they are. Found by one walk over two
/// lists in the same order, comparing references.</summary>
internal readonly record struct PlanChanges(List<PlannedService> Before, List<PlannedService> After)
{
    public static PlanChanges Between(ImmutableArray<PlannedService> before, ImmutableArray<PlannedService> after)
    {
        var changes = new PlanChanges([], []);
        int i = 0, j = 0;
        while (i < before.Length || j < after.Length)
        {
            if (i < before.Length && j < after.Length && ReferenceEquals(before[i], after[j]))
            {
                i++;
                j++;
                continue;
            }

            var order = i == before.Length ? 1
                : j == after.Length ? -1
                : CatalogService.CompareNames(before[i].Service.Name, after[j].Service.Name);
            if (order <= 0)
                changes.Before.Add(before[i++]);
            if (order >= 0)
                changes.After.Add(after[j++]);
        }

        return changes;
    }
}
