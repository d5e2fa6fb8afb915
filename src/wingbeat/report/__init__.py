"""Pictures and tables of what happened, made from plain values; never reaches into the engine."""
