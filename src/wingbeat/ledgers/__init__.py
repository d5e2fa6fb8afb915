"""Pure decisions that lanes share. Everything takes ``now`` and returns at once; nothing here waits or logs."""
