"""Cell models: how a code is stored, and what a read of it gives."""
