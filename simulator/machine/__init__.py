"""From a mapping to the machine: units, flows between tiles, receptive fields."""
