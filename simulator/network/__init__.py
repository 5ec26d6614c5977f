"""The quantised spiking network as integers."""
