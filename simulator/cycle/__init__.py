"""When it happens: the clock, its counts and the trace."""
