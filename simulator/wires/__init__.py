"""Wire resistance of a crossbar: exact node voltages, and what of them can be said once for all inputs."""
