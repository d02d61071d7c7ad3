"""Study: published logs, replays, simulated users, and what another policy would have earned."""
