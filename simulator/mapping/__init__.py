"""From a network to crossbars, PEs and tiles."""
