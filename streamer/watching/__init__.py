"""How a run goes: metrics and health for monitoring, terminal and summary for people, logs, the machine."""
