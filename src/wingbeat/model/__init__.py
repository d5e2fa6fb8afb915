"""Values that every other package speaks in. Nothing here decides, waits or does I/O."""
