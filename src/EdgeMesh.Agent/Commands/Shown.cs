using Spectre.Console;

namespace EdgeMesh.Agent.Commands;

/// <summary>The one way of a text into a view: without anything that the terminal or the view's own markup would obey.</summary>
internal static class Shown
{
    public static string Text(string text) => Markup.Escape(PlainText.Of(text));
}
