namespace EdgeMesh.Agent.Hosting;

/// <summary>The agent cannot start here. The message is for the operator and says what to do.</summary>
internal sealed class AgentStartException(string message, Exception? inner = null) : Exception(message, inner);
