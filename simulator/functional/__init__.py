"""What the crossbars compute."""
