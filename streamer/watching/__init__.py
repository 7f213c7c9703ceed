"""What tells how a run goes: metrics and health for monitoring, the terminal and the summary for people, logs, and the machine."""
