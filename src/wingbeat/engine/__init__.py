"""One record's life, and the lanes that carry records through it. I/O only through the ports."""
