"""How fast models are on this machine, and in what state the machine was."""
